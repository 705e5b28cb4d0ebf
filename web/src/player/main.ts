//! The player page, and the player alone as others embed it, put together: what is on air, the one that plays, and
//! `window.spillway`.

import { byId, say } from "../shared/dom";
import { Captions } from "./captions";
import { Controls } from "./controls";
import { wireKeys } from "./keys";
import { Menu } from "./menu";
import { OnAir } from "./onair";
import { Overlay } from "./overlay";
import { Panel } from "./panel";
import { Past } from "./past";
import { Playback } from "./playback";
import { Storyboard } from "./storyboard";
import { Refusal, joinUrl, listStreams, playUrl, stillUrl, wishOf, type Listed } from "./streams";
import { Telemetry } from "./telemetry";
import { Timeline } from "./timeline";

/** How long between looks at what is on air, in milliseconds. */
const LOOK_EVERY = 2_000;
/** While something plays the list only feeds the chooser; and who is refused is refused again. */
const LOOK_SELDOM = 15_000;

const embedded = document.body.classList.contains("embed");
const page = new URLSearchParams(location.search);
/** The stream that the address asks for; without one it is the first on air. */
let wanted = embedded ? decodeURIComponent(location.pathname.split("/").pop() ?? "") : page.get("stream");
let node = "";
let chosen: Listed | null = null;
let streams: readonly Listed[] = [];

const video = byId<HTMLVideoElement>("video");
const telemetry = new Telemetry(video);
const playback = new Playback(video, telemetry);
const past = new Past(video, playback);
const captions = new Captions(video);
const controls = new Controls(video, playback, past);
const timeline = new Timeline(past);
const menu = new Menu(playback, captions);
const overlay = new Overlay(video, playback, past, telemetry);
const panel = new Panel(video, playback, telemetry, arrange);
const onAir = embedded ? null : new OnAir(page, choose);

wireKeys({ video, playback, past, captions, controls, panel });
playback.watchers = {
  change() {
    menu.refresh();
    refresh();
  },
  connect: (hls) => captions.follow(hls),
  hold: () => overlay.keep(),
};
window.setInterval(refresh, 250);
void look();

/** Four times a second, and whenever the state changes. */
function refresh(): void {
  overlay.refresh();
  timeline.refresh();
  panel.refresh(node);
  if (menu.isOpen) menu.refresh();
}

async function look(): Promise<void> {
  let refused = false;
  try {
    const listing = await listStreams(page);
    node = listing.node;
    streams = listing.streams;
    found();
  } catch (error) {
    const { title, why, lasting } = error instanceof Refusal ? error : new Refusal("Something went wrong", String(error));
    refused = lasting;
    if (chosen === null) overlay.empty(title, why);
  }
  const settled = refused || (chosen !== null && playback.state.name !== "ended");
  window.setTimeout(look, settled ? LOOK_SELDOM : LOOK_EVERY);
}

/** Another look at what is on air. */
function found(): void {
  const name = chosen?.name ?? wanted;
  const now = name === null ? streams.find(({ state }) => state !== "waiting") : streams.find((stream) => stream.name === name);
  if (chosen === null) {
    if (now && now.state !== "waiting") start(now, joinUrl(page, location.href), wishOf(page));
    else nothing();
  } else if (now) {
    // What had ended is on air again, as another programme: nobody has to reload.
    if (playback.state.name === "ended" && now.state === "live") start(now, null, { ...playback.wish, start: null });
    chosen = now;
    tell(now);
  }
  arrange();
}

function nothing(): void {
  if (wanted === null) return overlay.empty("Nothing is on air yet", "This page starts by itself as soon as something is.");
  const on = embedded ? [] : streams.filter(({ state }) => state !== "waiting").map(({ name }) => name);
  overlay.empty(`“${wanted}” is not on air`, `It starts by itself when it is.${on.length > 0 ? ` On air now: ${on.join(", ")}.` : ""}`);
}

function choose(name: string): void {
  const stream = streams.find((candidate) => candidate.name === name);
  if (!stream || name === chosen?.name) return;
  wanted = name;
  page.set("stream", name);
  // The join URL names the stream the page was opened for, not this one; so does the place to begin.
  page.delete("join");
  page.delete("start");
  history.replaceState(null, "", `?${page}`);
  if (stream.state === "waiting") {
    chosen = null;
    playback.stop();
    nothing();
  } else {
    start(stream, null, { ...playback.wish, start: null });
  }
  arrange();
}

function start(stream: Listed, join: string | null, wish: typeof playback.wish): void {
  chosen = stream;
  // Until there is a picture of its own; where there is no poster it stays black.
  if (stream.poster) video.poster = stillUrl(stream.url, "poster.jpg?width=1280", page, location.href);
  else video.removeAttribute("poster");
  timeline.storyboard = new Storyboard(stillUrl(stream.url, "storyboard.vtt", page, location.href), (span) => {
    if (chosen?.past === null) past.tell(span);
  });
  past.tell(null);
  tell(stream);
  say(byId("title"), stream.name);
  document.title = `${stream.name} · Spillway`;
  playback.open(playUrl(stream.url, page, location.href), join, wish);
}

/** How far back one can go. A relay does not know, but has the storyboard of the node that does. */
function tell(stream: Listed): void {
  if (stream.past !== null) past.tell(stream.past);
  else if (past.span === 0 && stream.poster) void timeline.storyboard?.look();
}

/** What stands beside the picture. */
function arrange(): void {
  const side = document.getElementById("side");
  if (!side || !onAir) return;
  onAir.show(streams, chosen?.name ?? null);
  if (chosen === null) say(byId("title"), wanted ?? "Nothing on air");
  const several = streams.length > 1 || (chosen === null && streams.length > 0);
  side.hidden = !panel.isOpen && !several;
  document.body.dataset["side"] = String(!side.hidden);
  refresh();
}

/** For tests and the curious: what the page knows, as plain values. */
function stats() {
  const { word } = telemetry;
  return {
    stream: chosen?.name ?? null,
    state: playback.state.name,
    playing: playback.state.name === "playing" && !video.paused && !telemetry.stalled,
    rung: word.rung,
    shownRung: telemetry.shown,
    estimate: word.estimate,
    reason: word.reason,
    node: word.node ?? node,
    width: video.videoWidth,
    height: video.videoHeight,
    buffer: telemetry.buffer,
    latency: playback.latency,
    age: playback.age,
    byParts: playback.byParts,
    /** Seconds that can be gone back, and how far it went. */
    past: past.span,
    behind: past.behind,
    droppedFrames: telemetry.droppedFrames,
    stalls: telemetry.stalls,
    stalledMs: telemetry.stalledMs,
    startupMs: telemetry.startupMs,
    switches: telemetry.switches,
    currentTime: video.currentTime,
    /** The track of sound, by its name; null where there is one sound only. */
    sound: playback.sounds.all[playback.sounds.chosen]?.name ?? null,
    playedSeconds: telemetry.playedSeconds,
    rungs: [...telemetry.rungs],
    steps: telemetry.steps.map((step) => ({ ...step })),
    errors: [...telemetry.errors],
  };
}

/** The captions and subtitles that have been read so far. */
function texts() {
  const cue = ({ startTime, endTime, text }: VTTCue) => ({ startTime, endTime, text });
  return captions.all.map(({ label, kind, cues }) => ({ label, kind, cues: cues.map(cue) }));
}

declare global {
  interface Window {
    spillway: { stats: typeof stats; texts: typeof texts };
  }
}
window.spillway = { stats, texts };
