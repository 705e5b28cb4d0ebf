// Holds the simulator's account of hls.js against hls.js itself: reads recordings (a JSON array) from stdin,
// tells a real AbrController the same, and compares levels and estimates.
//
//     node against.mjs PATH/TO/hls.js/dist/hls.mjs < recordings.json
//
// Prints how much was compared; ends with 1 at the first difference.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

let clock = 0;
const timers = { setInterval: () => 1, clearInterval: () => {}, setTimeout: () => 1, clearTimeout: () => {} };
globalThis.performance = { now: () => clock };
globalThis.self = { ...timers, performance: globalThis.performance };

const { default: Hls } = await import(pathToFileURL(process.argv[2]));
const { Events } = Hls;
const silent = Object.fromEntries(["trace", "debug", "log", "info", "warn", "error"].map((level) => [level, () => {}]));

/// A player that does nothing but what its controller asks of it.
class Player {
  constructor({ levels, first }) {
    this.handlers = {};
    this.config = { ...Hls.DefaultConfig, useMediaCapabilities: false };
    this.logger = silent;
    this.levels = levels.map((level) => ({
      ...{ bitrate: level.peak, maxBitrate: level.peak, averageBitrate: level.mean },
      ...{ codecSet: "avc1", codecs: "avc1", videoRange: "SDR", frameRate: 25, height: 360, width: 640 },
      ...{ loadError: 0, fragmentError: 0, details: undefined, audioGroups: undefined, attrs: {}, supportedResult: {} },
    }));
    Object.assign(this, { minAutoLevel: 0, maxAutoLevel: levels.length - 1, firstLevel: first, loadLevel: -1 });
    Object.assign(this, { autoLevelEnabled: true, allAudioTracks: [], audioTracks: [], latestLevelDetails: null });
    this.media = { paused: false, playbackRate: 1, readyState: 0 };
    this.mainForwardBufferInfo = { len: 0 };
    this.emergency = false;
    this.abr = new Hls.DefaultConfig.abrController(this);
    // As its level controller does when the multivariant playlist has been read.
    const listed = Math.min(levels[first].peak, this.config.abrEwmaDefaultEstimateMax);
    if (listed > this.config.abrEwmaDefaultEstimate) this.abr.resetEstimator(listed);
    this.nextLoadLevel = this.abr.firstAutoLevel;
  }
  get nextLoadLevel() {
    return this.abr.nextAutoLevel;
  }
  set nextLoadLevel(level) {
    this.loadLevel = level;
    this.abr.nextAutoLevel = level;
  }
  get nextAutoLevel() {
    return this.abr.nextAutoLevel;
  }
  set nextAutoLevel(level) {
    this.abr.nextAutoLevel = level;
  }
  get loadLevelObj() {
    return this.levels[this.loadLevel];
  }
  on(event, handler, context) {
    this.handlers[event] = handler.bind(context);
  }
  off() {}
  trigger(event) {
    if (event === Events.FRAG_LOAD_EMERGENCY_ABORTED) this.emergency = true;
  }
  fire(event, data) {
    this.handlers[event](event, data);
  }
}

let compared = 0;
function same(what, ours, theirs, where) {
  compared += 1;
  const close = typeof ours === "number" && Math.abs(ours - theirs) <= 1e-6 * Math.max(1, Math.abs(theirs));
  if (ours === theirs || close) return;
  console.error(`${where}: ${what} is ${ours} here, and ${theirs} by hls.js ${Hls.version}`);
  process.exit(1);
}

const does = {
  next(player, { buffer, level }, where) {
    player.mainForwardBufferInfo = { len: buffer };
    const theirs = player.nextLoadLevel;
    player.nextLoadLevel = theirs;
    same("the level", level, theirs, where);
  },
  playlist(player, { seconds }) {
    const details = { live: true, averagetargetduration: undefined };
    player.latestLevelDetails = details;
    player.levels[player.loadLevel].details = details;
    const stats = { loading: { start: clock, first: clock, end: clock + seconds * 1000 } };
    player.abr.clearTimer();
    player.fire(Events.LEVEL_LOADED, { details, stats, levelInfo: player.levels[player.loadLevel] });
  },
  loading(player, { level, duration }) {
    clock += 10;
    const stats = { loading: { start: clock, first: 0, end: 0 }, parsing: { end: 0 }, loaded: 0, total: 0, aborted: false };
    const abortRequests = () => (stats.aborted = true);
    player.frag = { type: "main", sn: 1, level, duration, stats, bitrate: null, bitrateTest: false, abortRequests };
    player.fire(Events.FRAG_LOADING, { frag: player.frag, part: null });
  },
  check(player, { progress, lower, estimate }, where) {
    const { stats } = player.frag;
    clock = stats.loading.start + progress.elapsed;
    stats.loading.first = progress.first_byte === null ? 0 : stats.loading.start + progress.first_byte;
    stats.loaded = progress.octets;
    stats.total = 1e12;
    player.mainForwardBufferInfo = { len: progress.buffer };
    player.media.readyState = progress.watched ? 4 : 0;
    player.emergency = false;
    player.abr._abandonRulesCheck();
    same("the emergency's level", lower, player.emergency ? player.loadLevel : null, where);
    same("the estimate", estimate, player.abr.bwEstimator.getEstimate(), where);
  },
  loaded(player, step, where) {
    const { frag } = player;
    const { loading, parsing } = frag.stats;
    loading.first = loading.start + step.first_byte;
    clock = loading.end = parsing.end = loading.start + step.elapsed;
    frag.stats.loaded = frag.stats.total = step.octets;
    player.fire(Events.FRAG_LOADED, { frag, part: null });
    player.fire(Events.FRAG_BUFFERED, { frag, part: null, stats: frag.stats, id: "main" });
    same("the estimate", step.estimate, player.abr.bwEstimator.getEstimate(), where);
    same("the time to the first octet", step.first_byte_estimate, player.abr.bwEstimator.getEstimateTTFB(), where);
  },
};

const recordings = JSON.parse(readFileSync(0, "utf8"));
for (const [number, recording] of recordings.entries()) {
  clock = 1000;
  const player = new Player(recording);
  for (const [at, step] of recording.steps.entries()) {
    does[step.step](player, step, `player ${number}, step ${at} (${JSON.stringify(step)})`);
  }
}
const emergencies = recordings.flatMap(({ steps }) => steps).filter(({ lower }) => lower != null).length;
console.log(`${compared} values and ${emergencies} emergencies of ${recordings.length} players are those of hls.js ${Hls.version}`);
