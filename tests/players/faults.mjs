//! What goes wrong in practice, done to every player on purpose: each plays, after a while one thing goes wrong, and
//! each has to go on. Run through tools/players --faults.

import { readFileSync, readdirSync } from "node:fs";
import { pause } from "./child.mjs";
import { Front } from "./front.mjs";
import { FPS } from "./pattern.mjs";
import { Publisher } from "./publisher.mjs";
import { Stream } from "./stream.mjs";

/** When it goes wrong, and how long each player plays, in seconds. */
const AT = 18;
const SPAN = 50;

/** The one that needs a publisher of its own to kill, a slate, and more time. */
const KILLED = "input killed for 30 s, under a slate";

/** A thing that goes wrong: done to the stream, to what stands before each player, and to the stream's publisher. */
export const FAULTS = {
  "nothing": async () => {},
  "source stands still for 7 s": async (stream) => {
    const segmenters = childrenOf(stream.program.child.pid);
    segmenters.forEach((pid) => process.kill(pid, "SIGSTOP"));
    await pause(7);
    segmenters.forEach((pid) => process.kill(pid, "SIGCONT"));
  },
  "segmenter killed": async (stream) => childrenOf(stream.program.child.pid).forEach((pid) => process.kill(pid, "SIGKILL")),
  "primary killed, and back at once": (stream) => stream.restart(),
  "moved to another address by 307": async (_, fronts) => fronts.forEach((front) => (front.moved = true)),
  "two segments cut off by a reset": async (_, fronts) => fronts.forEach((front) => (front.cuts = 2)),
  "no answer for 8 s, so the viewer expires": async (_, fronts) => {
    let over;
    fronts.forEach((front) => (front.held = new Promise((go) => (over = all(over, go)))));
    await pause(8);
    over();
  },
  [KILLED]: async (stream, _, publisher) => {
    await publisher.kill();
    await pause(30);
    publisher.start();
  },
};

const all = (before, next) => () => (before?.(), next());

/** Does one fault to all `players` at a time; says what became of each. `query`: how they join. */
export async function suffer(fault, players, { programs, query }) {
  const publisher = fault === KILLED ? await Publisher.start() : null;
  const fed = publisher && { input: publisher.url, more: ["--slate", "black"] };
  const span = publisher ? SPAN + 30 : SPAN;
  const stream = await Stream.start(programs, { rule: "rate", ...fed });
  const fronts = await Promise.all(players.map(() => Front.before(stream.url)));
  let when = 0;
  const runs = players.map((player, index) => {
    const url = stream.join(query).replace(stream.url, fronts[index].url);
    return player.watch(url, span).catch((error) => ({ failed: error.message, pictures: [], breaks: [], events: [], complaints: [] }));
  });
  const done = pause(AT).then(() => {
    when = Date.now();
    return FAULTS[fault](stream, fronts, publisher);
  });
  const seen = await Promise.all(runs);
  await done;
  await stream.stop();
  await publisher?.kill();
  fronts.forEach((front) => front.close());
  return players.map((player, index) => ({
    fault,
    player: player.name,
    version: player.version(),
    ...outcome(seen[index], when, span),
    refusals: fronts[index].refusals,
    complaints: seen[index].complaints,
    failed: seen[index].failed,
  }));
}

/** Whether it went on, and how long it stood still. Numbers start over with a new encoder, so pictures are counted. */
function outcome({ pictures, events }, when, span) {
  const before = pictures.filter(({ at }) => at < when);
  const after = pictures.filter(({ at }) => at >= when);
  const end = pictures.at(-1)?.at ?? 0;
  let stalled = 0;
  let stalls = 0;
  let back = 0;
  let base = null;
  for (const [index, { at, presented, number }] of pictures.entries()) {
    // What the page had no time to look at was shown all the same.
    const due = at - (1000 / FPS) * (presented === undefined ? index : presented - pictures[0].presented);
    base ??= due;
    if (due - base > 300) {
      if (at >= when) [stalled, stalls] = [stalled + (due - base) / 1000, stalls + 1];
      base = due;
    }
    const previous = pictures[index - 1]?.number;
    if (at >= when && previous !== undefined && number !== null && number < previous && previous - number < 2000) back++;
  }
  const late = after.filter(({ at }) => at > when + (span - AT - 12) * 1000);
  return {
    playedBefore: before.length > 5 * FPS,
    wentOn: late.length > 3 * FPS,
    pictures: after.length,
    end: Math.round((end - when) / 100) / 10,
    stalls,
    stalled: Math.round(stalled * 10) / 10,
    back,
    events: [...new Set(events.filter(({ at }) => at >= when).map(({ what }) => what))],
  };
}

/** The segmenters of a primary. */
function childrenOf(parent) {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return Number(readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1).split(" ")[1]) === parent;
      } catch {
        return false; // It has gone meanwhile.
      }
    })
    .map(Number);
}
