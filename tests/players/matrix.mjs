//! Plays a stream whose rung changes every one to four segments in every player that there is, in every way that it is
//! signalled, and says what each lost. Run through tools/players, which builds and installs what it takes.
//!
//!     node matrix.mjs --programs target/release [--players NAME,...] [--ways NAME,...] [--seconds N] [--json FILE]
//!     node matrix.mjs --programs target/release --faults [--players NAME,...] [--only FAULT,...] [--query ?format=ts] [--json FILE]
//!     node matrix.mjs --programs target/release --moves [--players NAME,...] [--ways NAME,...] [--json FILE]
//!     node matrix.mjs --programs target/release --serve [IP]
//!     node matrix.mjs --list
//!
//! Prints a table in Markdown; --json keeps everything that was measured. Exits with 1 if a player fell short of what
//! it is known to be able to: see EXPECTED.

import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { inBrowser } from "./player/browser.mjs";
import { gstreamer } from "./player/gstreamer.mjs";
import { ffmpeg, mpv } from "./player/libav.mjs";
import { vlc } from "./player/vlc.mjs";
import { FAULTS, suffer } from "./faults.mjs";
import * as moves from "./moves.mjs";
import { Stream } from "./stream.mjs";
import { judge } from "./verdict.mjs";

const PLAYERS = [
  inBrowser("hls.js", "Chromium", "hls.js"),
  inBrowser("hls.js", "Firefox", "hls.js"),
  inBrowser("native", "Chromium"),
  inBrowser("shaka", "Chromium", "shaka-player"),
  inBrowser("video.js", "Chromium", "video.js"),
  vlc,
  ffmpeg,
  mpv,
  gstreamer,
];

/**
 * How a viewer asks to be told of switches; `default` is what it gets unasked. `steady` has none: what is lost then is the
 * player's or the machine's own.
 */
const WAYS = {
  default: { query: "" },
  steady: { query: "?rung=360p", steady: true },
  "low latency": { query: "?latency=low", low: true, only: /^hls\.js/ },
  tagged: { query: "?switch=tagged", only: /^hls\.js|shaka|video\.js/ },
  "as listed": { query: "?choose=list" },
  TS: { query: "?format=ts", only: /^hls\.js|VLC|ffmpeg|mpv|GStreamer/ },
};

/** What is lost at a change of the picture's size whatever is signalled, in pictures. */
const EXPECTED = { VLC: 26 };

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    programs: { type: "string", default: "target/release" },
    players: { type: "string" },
    ways: { type: "string" },
    seconds: { type: "string", default: "60" },
    json: { type: "string" },
    faults: { type: "boolean", default: false },
    only: { type: "string" },
    moves: { type: "boolean", default: false },
    query: { type: "string", default: "" },
    serve: { type: "boolean", default: false },
    list: { type: "boolean", default: false },
  },
});

if (options.list) {
  for (const player of PLAYERS) console.log(`${player.name}: ${player.obstacle() ?? player.version()}`);
  console.log(`ways: ${Object.keys(WAYS).join(", ")}`);
  console.log(`ways of --moves: ${Object.keys(moves.WAYS).join(", ")}`);
  process.exit(0);
}

if (options.serve) await serve(positionals[0] ?? "127.0.0.1");

const chosen = PLAYERS.filter(({ name }) => !options.players || wanted(options.players, name));
const meant = (name) => options.ways === "all" || wanted(options.ways ?? "default", name);
const ways = Object.entries(WAYS).filter(([name]) => options.moves || meant(name));
if (!chosen.length || !ways.length) fail(`nobody is called that; --list says who there is`);

if (options.faults) await sufferAll();
if (options.moves) await moveAll();

const stream = await Stream.start(options.programs);
const results = [];
console.log(heading());
for (const [way, { only, ...how }] of ways) {
  for (const player of chosen.filter(({ name }) => !only || only.test(name))) {
    const obstacle = player.obstacle();
    results.push(obstacle ? { player: player.name, way, obstacle } : await trial(player, way, how));
    console.log(row(results.at(-1)));
  }
}
await stream.stop();
if (options.json) writeFileSync(options.json, JSON.stringify({ when: new Date().toISOString(), cores: cpus().length, results }, null, 1));
process.exit(results.some(short) ? 1 : 0);

async function sufferAll() {
  const here = chosen.filter((player) => !player.obstacle());
  const all = [];
  console.log("| what went wrong | player | went on | stood still | remarks |\n|---|---|---|---|---|");
  for (const fault of Object.keys(FAULTS).filter((name) => !options.only || wanted(options.only, name))) {
    for (const seen of await suffer(fault, here, options)) {
      const { player, wentOn, stalled, stalls, back, events, refusals, failed } = seen;
      all.push(seen);
      const remarks = [failed, back && `${back} times backwards`, ...events, refusals.length && `${refusals.length} refusals: ${refusals[0]}`];
      const cells = [fault, player, wentOn ? "yes" : `no, until ${seen.end} s`, `${stalled} s in ${stalls}`, remarks.filter(Boolean).join("; ")];
      console.log(`| ${cells.join(" | ")} |`);
    }
  }
  if (options.json) writeFileSync(options.json, JSON.stringify(all, null, 1));
  process.exit(all.every(({ wentOn }) => wentOn) ? 0 : 1);
}

async function moveAll() {
  const seen = await moves.moveAll(chosen, (name) => !options.ways || meant(name), options);
  if (options.json) writeFileSync(options.json, JSON.stringify({ when: new Date().toISOString(), cores: cpus().length, seen }, null, 1));
  process.exit(seen.some(moves.short) ? 1 : 0);
}

/** For players that are not on this machine: the stream, and nobody watching the watcher. */
async function serve(ip) {
  const stream = await Stream.start(options.programs, { ip });
  for (const [way, { query }] of Object.entries(WAYS)) console.log(`${way}: ${stream.join(query)}`);
  console.log("Every picture is numbered; a switch must neither freeze it nor click. Ctrl-C ends it.");
  const { code } = await stream.program.ended;
  process.exit(code ?? 1);
}

async function trial(player, way, { query, low, steady }) {
  const about = { player: player.name, version: player.version(), way, steady };
  try {
    const run = await player.watch(stream.join(query), Number(options.seconds), { low });
    const facts = { ...stream.facts(), ...(steady && { rungs: new Map() }) };
    return { ...about, ...judge(facts, run), heard: run.heard, raw: process.env.RAW ? run : undefined };
  } catch (error) {
    return { ...about, failed: error.message };
  }
}

/** Whether it lost more at switches than it is known to, or stopped. Stalls are told but not judged: a busy encoder makes them. */
function short({ player, obstacle, failed, steady, switches, ...seen }) {
  if (obstacle) return false;
  if (failed || !(switches || steady)) return true;
  const ended = Object.keys(seen.events).some((event) => /^ended|^fatal|^error/.test(event));
  const bound = (EXPECTED[player] ?? 0) * switches;
  // What a busy machine loses anywhere it also loses near switches.
  const noise = seen.near && (2 * seen.lostElsewhere * seen.near) / Math.max(1, seen.shown - seen.near);
  return ended || seen.lostAtSwitches > bound + noise || seen.soundBreaksAtSwitches > 0 || seen.back > 0;
}

function heading() {
  const columns = ["player", "way", "pictures shown", "switches", "lost at switches", "lost elsewhere", "stalls at switches, elsewhere", "breaks of the sound at switches, elsewhere", "remarks"];
  return `| ${columns.join(" | ")} |\n|${columns.map(() => "---").join("|")}|`;
}

function row({ player, version, way, obstacle, failed, ...seen }) {
  if (obstacle || failed) return `| ${player} | ${way} | ${obstacle ? `not tried: ${obstacle}` : `failed: ${failed}`} |`;
  const remarks = [
    seen.back && `${seen.back} times backwards`,
    seen.unreadable && `${seen.unreadable} unreadable`,
    seen.wrongSize && `${seen.wrongSize} of another size than their rung's`,
    seen.stalled && `${seen.stalled} s stalled`,
    ...Object.entries(seen.events).map(([event, count]) => `${count} x ${event}`),
    seen.complaints.length && `says: ${seen.complaints[0].slice(0, 80)}`,
  ];
  const cells = [
    `${player} (${version})`,
    way,
    seen.shown,
    seen.switches,
    seen.lostAtSwitches,
    seen.lostElsewhere,
    `${seen.stallsAtSwitches}, ${seen.stallsElsewhere}`,
    `${seen.soundBreaksAtSwitches}, ${seen.soundBreaksElsewhere}`,
    remarks.filter(Boolean).join("; ").replaceAll("|", "/"),
  ];
  return `| ${cells.join(" | ")} |`;
}

function wanted(list, name) {
  return list.split(",").some((part) => name.toLowerCase().includes(part.trim().toLowerCase()));
}

function fail(message) {
  console.error(message);
  process.exit(2);
}
