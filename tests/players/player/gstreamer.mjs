//! GStreamer's playbin: its sinks, on its own clock, write to pipes.

import { installed, inFolder, pause, pipe, run, version } from "../child.mjs";
import { TONE } from "../pattern.mjs";
import { Ear } from "../tone.mjs";
import { Grey, Pcm } from "./raw.mjs";

export const gstreamer = {
  name: "GStreamer",
  obstacle: () => (installed("gst-launch-1.0") ? null : "gst-launch-1.0 is not installed"),
  version: () => version("gst-launch-1.0"),
  watch: (url, seconds) =>
    inFolder(async (folder) => {
      const seen = { pictures: [], breaks: [], events: [], complaints: [] };
      const pictures = new Grey(64, 36, (picture) => seen.pictures.push({ at: Date.now(), ...picture }));
      const ear = new Ear(TONE, 48000);
      const sound = new Pcm(1, (samples) => ear.hear(samples) && seen.breaks.push(Date.now()));
      const close = [
        pipe(`${folder}/pictures`, (octets) => pictures.read(octets)),
        pipe(`${folder}/sound`, (octets) => sound.read(octets)),
      ];
      const said = (line) => /error|warn|fail/i.test(line) && seen.complaints.length < 40 && seen.complaints.push(line.slice(0, 300));
      const grey = "videoconvert ! videoscale ! video/x-raw,format=GRAY8,width=64,height=36,pixel-aspect-ratio=1/1";
      const pcm = "audioconvert ! audioresample ! audio/x-raw,format=S16LE,rate=48000,channels=1";
      const sink = (what) => `filesink sync=true buffer-mode=unbuffered location=${folder}/${what}`;
      const player = run(
        "gst-launch-1.0",
        ["playbin", `uri=${url}`, `video-sink=${grey} ! ${sink("pictures")}`, `audio-sink=${pcm} ! ${sink("sound")}`],
        { said },
      );
      const early = await Promise.race([player.ended, pause(seconds)]);
      if (early) seen.events.push({ at: Date.now(), what: `ended (${early.error ?? early.signal ?? early.code})` });
      await player.stop();
      close.forEach((end) => end());
      seen.heard = { seconds: ear.seconds, silence: ear.silence };
      return seen;
    }),
};
