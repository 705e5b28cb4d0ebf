//! VLC: its outputs for pictures and for sound write to pipes, at the pace of its own clock.

import { installed, inFolder, pause, pipe, run, version } from "../child.mjs";
import { TONE } from "../pattern.mjs";
import { Ear } from "../tone.mjs";
import { Pcm, Y4m } from "./raw.mjs";

const nobody = process.getuid?.() === 0;

export const vlc = {
  name: "VLC",
  obstacle: () => (installed("vlc") ? null : "VLC is not installed"),
  // It tells root nothing, not even its version.
  version: () => (nobody ? version("runuser", ["-u", "nobody", "--", "vlc", "--version"]) : version("vlc")),
  watch: (url, seconds) =>
    inFolder(async (folder) => {
      const seen = { pictures: [], breaks: [], events: [], complaints: [] };
      const pictures = new Y4m((picture) => seen.pictures.push({ at: Date.now(), ...picture }));
      const ear = new Ear(TONE, 48000);
      const sound = new Pcm(2, (samples) => ear.hear(samples) && seen.breaks.push(Date.now()));
      const close = [
        pipe(`${folder}/pictures`, (octets) => pictures.read(octets)),
        pipe(`${folder}/sound`, (octets) => sound.read(octets)),
      ];
      const said = (line) => !/no suitable interface module/.test(line) && /error|fail|corrupt|late/i.test(line) && seen.complaints.length < 40 && seen.complaints.push(line.slice(0, 300));
      const parameters = [
        ...["-I", "dummy", "--no-dbus", "--vout=yuv", `--yuv-file=${folder}/pictures`, "--yuv-chroma=I420", "--yuv-yuv4mpeg2"],
        ...["--aout=afile", `--audiofile-file=${folder}/sound`, "--no-audiofile-wav", "--audiofile-format=s16", url],
      ];
      const command = nobody ? ["runuser", ["-u", "nobody", "--", "vlc", ...parameters]] : ["vlc", parameters];
      const player = run(...command, { said, env: { HOME: folder } });
      const early = await Promise.race([player.ended, pause(seconds)]);
      if (early) seen.events.push({ at: Date.now(), what: `ended (${early.error ?? early.signal ?? early.code})` });
      await player.stop();
      close.forEach((end) => end());
      seen.heard = { seconds: ear.seconds, silence: ear.silence };
      return seen;
    }),
};
