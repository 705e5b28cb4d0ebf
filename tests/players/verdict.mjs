//! What a run of readings means: pictures lost at switches of the rung and elsewhere, stalls, breaks of the sound.
//!
//! A machine that is busy loses pictures anywhere, so those at switches are told from the rest of the same run.

import { FPS, NUMBERS } from "./pattern.mjs";

/** What is this near to a switch, in pictures, is its doing. */
const NEAR = FPS;
/** Later than this, in seconds, is a stall. */
const LATE = 0.3;
/** The first seconds of a run, in which players fill their buffers and start their sound. */
const START = 2;

/**
 * `stream`: {began, perSegment, first, rungs: Map(number -> {width, height})}: `began` is when picture 0 was live, in
 * ms of wall time. `run`: {pictures: [{at, number, width?, height?, presented?}], breaks: [at], events: [{at, what}]}, all
 * `at` in ms of wall time; `presented` counts what the player has shown, where it tells.
 */
export function judge(stream, run) {
  const pictures = unwrapped(stream, run.pictures);
  const from = pictures.length ? pictures[0].at + START * 1000 : 0;
  const watched = pictures.filter((picture) => picture.at >= from);
  const switches = switchesIn(stream, watched);
  const near = (a, b) => switches.some((at) => at >= a - NEAR && at <= b + NEAR);
  const verdict = {
    shown: watched.length,
    seconds: watched.length ? round((watched.at(-1).at - watched[0].at) / 1000) : 0,
    switches: switches.length,
    near: watched.filter(({ number }) => near(number, number)).length,
    lostAtSwitches: 0,
    lostElsewhere: 0,
    mostLostAtOnce: 0,
    back: 0,
    unreadable: run.pictures.filter((picture) => picture.number === null).length,
    wrongSize: 0,
    stallsAtSwitches: 0,
    stallsElsewhere: 0,
    stalled: 0,
    soundBreaksAtSwitches: 0,
    soundBreaksElsewhere: 0,
    complaints: run.complaints ?? [],
    events: {},
    sizes: {},
  };
  let base = null;
  for (const [index, picture] of watched.entries()) {
    const size = picture.width ? `${picture.width}x${picture.height}` : null;
    if (size) verdict.sizes[size] = (verdict.sizes[size] ?? 0) + 1;
    const rung = stream.rungs.get(stream.first + Math.floor(picture.number / stream.perSegment));
    if (size && rung && (rung.width !== picture.width || rung.height !== picture.height)) verdict.wrongSize++;
    const before = watched[index - 1];
    if (before) gap(verdict, before, picture, near);
    // Wall time less media time only grows when a player stands still; to read ahead makes it smaller.
    const due = picture.at - (picture.number * 1000) / FPS;
    if (base !== null && due - base > LATE * 1000) {
      const where = near(before.number, picture.number) ? "stallsAtSwitches" : "stallsElsewhere";
      verdict[where]++;
      verdict.stalled = round(verdict.stalled + (due - base) / 1000);
      base = due;
    }
    base ??= due;
  }
  for (const at of run.breaks.filter((at) => at >= from)) {
    const shown = pictures.findLast((picture) => picture.at <= at);
    const where = shown && near(shown.number, shown.number) ? "soundBreaksAtSwitches" : "soundBreaksElsewhere";
    verdict[where]++;
  }
  for (const { what } of (run.events ?? []).filter(({ at }) => at >= from)) {
    verdict.events[what] = (verdict.events[what] ?? 0) + 1;
  }
  return verdict;
}

function gap(verdict, before, picture, near) {
  const moved = picture.number - before.number;
  if (moved < 0) {
    verdict.back++;
    return;
  }
  const shown = picture.presented === undefined ? 1 : picture.presented - before.presented;
  const lost = Math.max(0, moved - shown);
  if (!lost) return;
  const where = near(before.number, picture.number) ? "lostAtSwitches" : "lostElsewhere";
  verdict[where] += lost;
  verdict.mostLostAtOnce = Math.max(verdict.mostLostAtOnce, lost);
}

/** Pictures with numbers that do not start over, by when they can have been live. */
function unwrapped(stream, pictures) {
  return pictures
    .filter((picture) => picture.number !== null)
    .map((picture) => {
      const live = ((picture.at - stream.began) / 1000) * FPS;
      const rounds = Math.round((live - picture.number) / NUMBERS);
      return { ...picture, number: picture.number + rounds * NUMBERS };
    });
}

/** The pictures that are the first of another rung, among those that were passed. */
function switchesIn(stream, watched) {
  if (!watched.length) return [];
  const numbers = watched.map((picture) => picture.number);
  const [least, most] = [Math.min(...numbers), Math.max(...numbers)];
  const found = [];
  for (let index = Math.ceil(least / stream.perSegment); index * stream.perSegment <= most; index++) {
    const [before, after] = [stream.rungs.get(stream.first + index - 1), stream.rungs.get(stream.first + index)];
    if (before && after && before.name !== after.name) found.push(index * stream.perSegment);
  }
  return found;
}

const round = (seconds) => Math.round(seconds * 100) / 100;
