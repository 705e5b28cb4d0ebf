//! Plays a URL with one of the players of a browser, reads every picture and listens to all of the sound, and posts what
//! it saw to the server that the page came from. So it needs no remote control, and works in any browser.
//!
//!     index.html?player=hls.js&src=URL&seconds=N[&low]

import { number } from "/pattern.mjs";

const given = new URLSearchParams(location.search);
const source = given.get("src");
const video = document.querySelector("video");
const seen = { pictures: [], breaks: [], events: [], complaints: [], agent: navigator.userAgent };
const now = () => performance.timeOrigin + performance.now();
const note = (what) => seen.events.push({ at: now(), what });
const complain = (what) => seen.complaints.length < 40 && seen.complaints.push(String(what).slice(0, 300));

const players = {
  async "hls.js"() {
    await script("/lib/hls.js/dist/hls.min.js");
    const low = given.has("low");
    const hls = new Hls({ lowLatencyMode: low, debug: false });
    hls.on(Hls.Events.ERROR, (_, { fatal, details, reason, response }) => {
      note(`${fatal ? "fatal " : ""}${details}`);
      complain(`${details} ${reason ?? ""} ${response?.code ?? ""}`);
    });
    hls.loadSource(source);
    hls.attachMedia(video);
  },
  async native() {
    video.src = source;
  },
  async shaka() {
    await script("/lib/shaka-player/dist/shaka-player.compiled.js");
    shaka.polyfill.installAll();
    const player = new shaka.Player();
    await player.attach(video);
    player.addEventListener("error", ({ detail }) => note(`error ${detail.code}`) || complain(JSON.stringify(detail)));
    await player.load(source);
  },
  async "video.js"() {
    await script("/lib/video.js/dist/video.min.js");
    // Its own streaming, also where the browser has one.
    const player = videojs(video, { html5: { vhs: { overrideNative: true } }, liveui: false });
    player.on("error", () => note("error") || complain(JSON.stringify(player.error())));
    player.src({ src: source, type: "application/vnd.apple.mpegurl" });
  },
};

for (const what of ["waiting", "seeking", "ended", "error", "pause"]) {
  video.addEventListener(what, () => {
    note(what);
    if (what === "error") complain(`${video.error?.code} ${video.error?.message}`);
  });
}
addEventListener("error", ({ message }) => complain(message));
addEventListener("unhandledrejection", ({ reason }) => complain(reason?.message ?? reason));

try {
  await listen();
  await players[given.get("player")]();
  look();
  await video.play().catch(complain);
  await pause(Number(given.get("seconds")) * 1000);
} catch (error) {
  complain(error.stack ?? error);
}
seen.dropped = video.getVideoPlaybackQuality?.().droppedVideoFrames;
seen.rate = video.playbackRate;
await fetch("/report", { method: "POST", body: JSON.stringify(seen) });

/** Reads each picture as it is shown. `presentedFrames` tells those shown while this page had no time to look. */
function look() {
  const canvas = new OffscreenCanvas(64, 36);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const read = (_, { presentedFrames, mediaTime, width, height }) => {
    video.requestVideoFrameCallback(read);
    context.drawImage(video, 0, 0, 64, 36);
    const { data } = context.getImageData(0, 0, 64, 36);
    const luma = (x, y) => data[4 * (y * 64 + x) + 1];
    const found = number(64, 36, luma);
    seen.pictures.push({ at: now(), number: found, width, height, presented: presentedFrames, mediaTime });
  };
  video.requestVideoFrameCallback(read);
}

async function listen() {
  const audio = new AudioContext({ sampleRate: 48000 });
  await audio.audioWorklet.addModule("/page/worklet.js");
  const ear = new AudioWorkletNode(audio, "ear", { numberOfOutputs: 1 });
  ear.port.onmessage = ({ data }) => (data.silence === undefined ? seen.breaks.push(now()) : (seen.heard = data));
  audio.createMediaElementSource(video).connect(ear);
  ear.connect(audio.destination);
  await Promise.race([audio.resume(), pause(2000)]);
  if (audio.state !== "running") complain(`no sound: the audio context is ${audio.state}`);
}

function script(src) {
  return new Promise((loaded, failed) => {
    const element = Object.assign(document.createElement("script"), { src, onload: loaded });
    element.onerror = () => failed(new Error(`there is no ${src}`));
    document.head.append(element);
  });
}

function pause(milliseconds) {
  return new Promise((over) => setTimeout(over, milliseconds));
}
