//! ffmpeg and mpv: filters inside the player read each picture and listen to the sound.

import { installed, inFolder, pause, pipe, run, version } from "../child.mjs";
import { filter, shown, soundFilter } from "../pattern.mjs";
import { createInterface } from "node:readline";
import { PassThrough } from "node:stream";

/** Louder than this, in dB of full scale, is no tone any more; coding leaves less than -70. */
const BREAK = -50;
/** In seconds of sound: breaks nearer than this are one, and the filter itself takes some to settle. */
const APART = 0.1;
const SETTLING = 1;

export const ffmpeg = {
  name: "ffmpeg",
  obstacle: () => (installed("ffmpeg") ? null : "ffmpeg is not installed"),
  version: () => version("ffmpeg", ["-version"]),
  watch: (url, seconds) =>
    watch(seconds, "ffmpeg", (sound) => [
      // By itself it has no clock: it would take each segment as it is listed, and stand still until the next.
      ...["-nostdin", "-hide_banner", "-nostats", "-v", "info", "-re", "-i", url],
      ...["-map", "0:v", "-vf", filter(), "-vsync", "passthrough", "-f", "null", "-"],
      ...["-map", "0:a", "-af", soundFilter(sound), "-f", "null", "-"],
    ]),
};

export const mpv = {
  name: "mpv",
  obstacle: () => (installed("mpv") ? null : "mpv is not installed"),
  version: () => version("mpv"),
  watch: (url, seconds) =>
    watch(seconds, "mpv", (sound) => [
      ...["--no-config", "--vo=null", "--ao=null", "--msg-level=all=warn,ffmpeg=v,cplayer=info"],
      ...[`--vf=lavfi=[${filter()}]`, `--af=lavfi=[${soundFilter(sound)}]`, url],
    ]),
};

function watch(seconds, program, parameters) {
  return inFolder(async (folder) => {
    const seen = { pictures: [], breaks: [], events: [], complaints: [] };
    let size = {};
    const said = (line) => {
      const picture = shown(line);
      if (picture?.number !== undefined) seen.pictures.push({ at: Date.now(), ...size, ...picture });
      else if (picture) size = { width: picture.width, height: picture.height };
      else if (complaint(line) && seen.complaints.length < 40) seen.complaints.push(line.slice(0, 300));
    };
    const sound = new PassThrough();
    const clicks = [];
    let time = 0;
    createInterface({ input: sound }).on("line", (line) => {
      const [, at] = /pts_time:(-?[\d.]+)/.exec(line) ?? [];
      const [, peak] = /Peak_level=(-?[\d.]+)/.exec(line) ?? [];
      if (at) time = Number(at);
      if (peak && Number(peak) > BREAK && time - (clicks.at(-1) ?? -1) > APART) clicks.push(time);
      seen.heard = time;
    });
    const close = pipe(`${folder}/sound`, (octets) => sound.write(octets));
    const player = run(program, parameters(`${folder}/sound`), { said });
    const early = await Promise.race([player.ended, pause(seconds)]);
    if (early) seen.events.push({ at: Date.now(), what: `ended (${early.error ?? early.signal ?? early.code})` });
    await player.stop();
    close();
    seen.breaks = clicks.filter((at) => at > clicks[0] + SETTLING || at > first(seen) + SETTLING).map((at) => shownAt(seen, at));
    return seen;
  });
}

const first = (seen) => seen.pictures[0]?.time ?? 0;

/** When the picture that belongs to a moment of the sound was shown: both run on one clock. */
function shownAt(seen, time) {
  const picture = seen.pictures.findLast((picture) => picture.time <= time) ?? seen.pictures[0];
  return picture?.at ?? Date.now();
}

/** What is worth telling of what a player says: what is wrong, and not what is what. */
function complaint(line) {
  if (line.includes("Skip (")) return false; // a tag that it does not know
  return /error|corrupt|invalid|fail|discontinu|non.monoton|missing|mismatch|broken|underrun/i.test(line);
}
