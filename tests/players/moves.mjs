//! Players that are moved in mid-play: from the relay on which they land to another one, which an operator's drain makes, and
//! from there to the primary, since places have become free there; or from the primary to a relay, since an operator wants their region
//! there, and back. Run through tools/players --moves.

import { inFolder } from "./child.mjs";
import { Town } from "./town.mjs";
import { judge } from "./verdict.mjs";

/** How long each player plays, in seconds, and how many segments each node is to have sent it before it is moved on. */
const SPAN = 85;
const SEGMENTS = 6;

/** How a player is told; in `stays` nobody is moved, so that what is lost is the player's or the machine's own. */
export const WAYS = {
  stays: { query: "", stays: true },
  redirects: { query: "" },
  // Chromium's own player takes the two pathways for two variants, and goes to the other.
  steering: { query: "?steering=1", only: /^hls\.js/ },
  "low-latency steering": { query: "?steering=1&latency=low", low: true, only: /^hls\.js/ },
  "out and back": { query: "", out: true },
  "out and back, low latency": { query: "?latency=low", low: true, out: true, only: /^hls\.js/ },
};

/** What is lost at a change of the picture's size whatever is signalled, in pictures. */
const EXPECTED = { VLC: 26 };

/** Plays each of `players` in each of `ways`; prints a table of what was seen, and returns that. */
export async function moveAll(players, ways, options) {
  const seen = [];
  console.log(heading());
  for (const [way, { only, ...how }] of Object.entries(WAYS).filter(([name]) => ways(name))) {
    for (const player of players.filter(({ name }) => !only || only.test(name))) {
      const obstacle = player.obstacle();
      const about = { player: player.name, version: obstacle ? undefined : player.version(), way, obstacle };
      seen.push(obstacle ? about : { ...about, ...(await trial(player, how, options).catch((error) => ({ failed: error.message }))) });
      console.log(row(seen.at(-1)));
    }
  }
  return seen;
}

function trial(player, { query, low, stays, out }, { programs }) {
  return inFolder(async (scratch) => {
    const town = await Town.start(programs, scratch);
    try {
      const relay = out ? await town.staff() : await town.fill();
      let trouble;
      const moving = stays ? null : (out ? sendOut(town, relay) : move(town)).catch((error) => (trouble = error.message));
      const run = await player.watch(town.join(query), SPAN, { low });
      await moving;
      return { ...(await verdict(town, run, stays)), out, failed: trouble, asksFor: await askers(town) };
    } finally {
      await town.stop();
    }
  });
}

async function move(town) {
  const first = await town.served(SEGMENTS);
  await town.drain(first);
  const second = await town.served(SEGMENTS, [first]);
  await town.leave(2);
  await town.served(1, [first, second]);
}

async function sendOut(town, relay) {
  const primary = await town.served(SEGMENTS);
  await town.pin({ node: relay });
  await town.served(SEGMENTS, [primary]);
  // There are places on the primary.
  const before = town.sentBy(primary);
  await town.unpin();
  await town.served(before + 1, [relay]);
}

/** Whether the player still asks a node that it has left. */
async function askers(town) {
  return (await town.overview()).nodes.filter(({ moved }) => moved > 0).map(({ node }) => node);
}

async function verdict(town, run, stays) {
  const sent = [...town.sent].sort(([a], [b]) => a - b);
  const nodes = new Map(sent.map(([number, { node }]) => [number, { name: node }]));
  const changes = (of) => sent.filter(([, now], index) => index > 0 && of(now) !== of(sent[index - 1][1]));
  const path = [sent[0], ...changes(({ node }) => node)].map((step) => step?.[1].node);
  return {
    ...judge({ ...town.stream.facts(), rungs: nodes }, run),
    stays,
    path,
    rungs: changes(({ rung }) => rung).length,
    joins: town.names.size,
    raw: process.env.RAW ? { run, sent, decisions: (await town.overview()).decisions, said: town.said } : undefined,
  };
}

/** Whether it was not moved as it should, or lost more at that than it is known to. */
export function short({ player, obstacle, failed, stays, out, ...seen }) {
  if (obstacle) return false;
  if (failed || seen.joins !== 1) return true;
  if (stays) return seen.path.length !== 1;
  if (out && seen.path[0] !== "primary") return true;
  const ended = Object.keys(seen.events).some((event) => /^ended|^fatal|^error/.test(event));
  const bound = (EXPECTED[player] ?? 0) * seen.rungs;
  return ended || seen.path.length !== 3 || seen.lostAtSwitches > bound || seen.stallsAtSwitches > 0 || seen.soundBreaksAtSwitches > 0;
}

function heading() {
  const columns = ["player", "way", "went", "pictures shown", "lost at moves, elsewhere", "breaks of the sound", "stood still", "changes of the rung", "asks in the end", "remarks"];
  return `| ${columns.join(" | ")} |\n|${columns.map(() => "---").join("|")}|`;
}

function row({ player, version, way, obstacle, failed, ...seen }) {
  if (obstacle || !seen.path) return `| ${player} | ${way} | ${obstacle ? `not tried: ${obstacle}` : `failed: ${failed}`} |`;
  const remarks = [
    failed && `failed: ${failed}`,
    seen.joins !== 1 && `joined ${seen.joins} times`,
    seen.back && `${seen.back} times backwards`,
    ...Object.entries(seen.events).map(([event, count]) => `${count} x ${event}`),
    seen.complaints.length && `says: ${seen.complaints[0].slice(0, 80)}`,
  ];
  const cells = [
    `${player} (${version})`,
    way,
    seen.path.join(" > "),
    seen.shown,
    `${seen.lostAtSwitches}, ${seen.lostElsewhere}`,
    `${seen.soundBreaksAtSwitches}, ${seen.soundBreaksElsewhere}`,
    `${seen.stallsAtSwitches}, ${seen.stallsElsewhere} times, ${seen.stalled} s`,
    seen.rungs,
    seen.asksFor.length ? `at ${seen.asksFor.join(", ")} too` : "where it plays",
    remarks.filter(Boolean).join("; ").replaceAll("|", "/"),
  ];
  return `| ${cells.join(" | ")} |`;
}
