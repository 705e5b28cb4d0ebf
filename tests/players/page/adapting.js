//! Plays a URL with hls.js and nearly its defaults, and posts what it fetches, what it shows and where it stands still, as it
//! happens. Who adapts, the server or hls.js, is the URL's business; what it means, the reader's.
//!
//!     adapting.html?src=URL&at=MILLISECONDS&seconds=N[&whole]
//!
//! `at` is when it is to begin, by the wall clock; with `whole` it leaves parts alone. Every line posted is a JSON object with `t`, in
//! seconds since then.

const given = new URLSearchParams(location.search);
const [source, start, span] = [given.get("src"), Number(given.get("at")), Number(given.get("seconds"))];
const video = document.querySelector("video");
const since = (moment) => Math.round(performance.timeOrigin + moment - start) / 1000;
const now = () => since(performance.now());

let lines = [];
const say = (kind, more) => lines.push(JSON.stringify({ kind, t: now(), ...more }));
const post = () => {
  if (!lines.length) return;
  const body = lines.join("\n");
  lines = [];
  return fetch("/said", { method: "POST", body }).catch(() => {});
};
addEventListener("error", ({ message }) => say("trouble", { what: message }));
addEventListener("unhandledrejection", ({ reason }) => say("trouble", { what: String(reason?.message ?? reason) }));

await script("/lib/hls.js/dist/hls.min.js");
say("loaded", { version: Hls.version, late: now() > 0 });
await post();
await pause(-now() * 1000);

// Whoever wants to be close to live says how fast a player may make up for a stall, which by default it never does, and has
// it ask again for a part at once, where by default it waits for longer than it has media for.
const soon = { maxNumRetry: 7, retryDelayMs: 100, maxRetryDelayMs: 2000, backoff: "exponential" };
const load = { default: { ...Hls.DefaultConfig.fragLoadPolicy.default, errorRetry: soon } };
const hls = new Hls(given.has("whole") ? { lowLatencyMode: false } : { maxLiveSyncPlaybackRate: 1.1, fragLoadPolicy: load });
/** The rung that each segment was last fetched in. */
const rungs = new Map();
watchHls();
for (const what of ["waiting", "playing", "seeking", "ended", "error", "pause"]) {
  video.addEventListener(what, () => {
    look();
    say("event", { what: what === "error" ? `error ${video.error?.code} ${video.error?.message}` : what });
  });
}
hls.loadSource(source);
hls.attachMedia(video);
video.play().catch((error) => say("trouble", { what: error.message }));

const EVERY = 100;
let due = performance.now() + EVERY;
const looking = setInterval(() => {
  // How late this is tells whether the machine had time for the page.
  look(Math.max(0, performance.now() - due));
  due = performance.now() + EVERY;
}, EVERY);
const posting = setInterval(post, 1000);
await pause((span - now()) * 1000);
clearInterval(looking);
clearInterval(posting);
look();
say("done", {});
await post();

function look(late = 0) {
  const { currentTime: position, buffered, readyState, paused } = video;
  let ahead = 0;
  for (let i = 0; i < buffered.length; i++) {
    if (buffered.start(i) <= position + 0.1 && buffered.end(i) > position) ahead = buffered.end(i) - position;
  }
  const { droppedVideoFrames: dropped, totalVideoFrames: frames } = video.getVideoPlaybackQuality();
  const age = hls.playingDate ? (Date.now() - hls.playingDate.getTime()) / 1000 : null;
  say("look", { position, ahead, readyState, paused, age, late, dropped, frames });
}

function watchHls() {
  const { Events } = Hls;
  hls.on(Events.FRAG_LOADED, (_, { frag, part, networkDetails }) => {
    if (frag.sn === "initSegment") return;
    const { loading, loaded } = (part ?? frag).stats;
    const header = (name) => networkDetails?.getResponseHeader?.(`Spillway-${name}`) ?? null;
    const rung = header("Rung") ?? named(frag.level);
    // Why, where it is the server that chose; none of these is there otherwise.
    const [reason, estimate] = [header("Reason"), header("Estimate") && Number(header("Estimate"))];
    rungs.set(frag.sn, rung);
    const [asked, first, done] = [loading.start, loading.first, loading.end].map(since);
    say("fetched", { segment: frag.sn, part: part?.index ?? null, rung, octets: loaded, asked, first, done, reason, estimate });
  });
  hls.on(Events.FRAG_CHANGED, (_, { frag }) => say("shown", { segment: frag.sn, rung: rungs.get(frag.sn) ?? named(frag.level) }));
  hls.on(Events.FRAG_LOAD_EMERGENCY_ABORTED, (_, { frag, part }) => {
    say("aborted", { segment: frag.sn, part: part?.index ?? null, rung: named(frag.level), octets: (part ?? frag).stats.loaded });
  });
  hls.on(Events.ERROR, (_, { fatal, details, reason, response }) => {
    say("trouble", { what: [fatal && "fatal", details, reason, response?.code].filter(Boolean).join(" ") });
  });
}

/** The rung of a level: the name of its playlist. Where there is one level only, the server says it. */
function named(level) {
  return hls.levels.length > 1 ? (/([^/]+)\.m3u8/.exec(hls.levels[level]?.url?.[0] ?? hls.levels[level]?.uri ?? "")?.[1] ?? null) : null;
}

function script(src) {
  return new Promise((loaded, failed) => {
    const element = Object.assign(document.createElement("script"), { src, onload: loaded });
    element.onerror = () => failed(new Error(`there is no ${src}`));
    document.head.append(element);
  });
}

function pause(milliseconds) {
  return new Promise((over) => setTimeout(over, Math.max(0, milliseconds)));
}
