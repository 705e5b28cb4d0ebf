//! A stand-in for a node and a traffic manager, to work on the pages without the Rust programs.
//!
//!     npm run dev                                  http://127.0.0.1:8090/ and /ops
//!     node dev/mock.mjs --regions 50 --streams 2   more of both; --regions 0 for the empty state
//!     node dev/mock.mjs --port 0                   any free port; the address is printed
//!
//! Media is a test picture from the ffmpeg program. The numbers are invented, the shapes are the
//! servers' own. POST /mock/fail?for=10 makes everything but the pages answer 503 for 10 s, and
//! POST /mock/mute-events?for=10 refuses only the event stream.

import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Fleet } from "./fleet.mjs";

const { values: args } = parseArgs({
  options: {
    port: { type: "string", default: "8090" },
    regions: { type: "string", default: "6" },
    streams: { type: "string", default: "1" },
  },
});
const dist = fileURLToPath(new URL("../dist/", import.meta.url));
const RUNGS = [
  { name: "360p", size: "640x360", kbps: 500 },
  { name: "540p", size: "960x540", kbps: 1100 },
  { name: "720p", size: "1280x720", kbps: 2200 },
];
const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".txt": "text/plain; charset=utf-8",
  ".m3u8": "application/vnd.apple.mpegurl",
  ".mp4": "video/mp4",
  ".m4s": "video/mp4",
};

const fleet = new Fleet(Number(args.regions));
const streams = Array.from({ length: Number(args.streams) }, (_, i) => (i === 0 ? "demo" : `demo-${i + 1}`));
let failUntil = 0;
let muteUntil = 0;
/** Which rung each segment number was given: a mock of the server's pins, one for all viewers. */
const pins = new Map();

const media = await mkdtemp(join(tmpdir(), "spillway-mock-"));
const encoder = streams.length > 0 ? encode() : null;
const ticking = setInterval(() => fleet.tick(), 1_000);
const server = createServer((request, reply) => {
  answer(request, reply).catch((error) => {
    if (!reply.headersSent) reply.writeHead(error.code === "ENOENT" ? 404 : 500);
    reply.end();
  });
});
server.listen(Number(args.port), "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${server.address().port}/`);
});
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, stop);

async function stop() {
  clearInterval(ticking);
  encoder?.kill("SIGKILL");
  server.close();
  server.closeAllConnections();
  await rm(media, { recursive: true, force: true });
}

async function answer(request, reply) {
  const url = new URL(request.url, "http://mock");
  const path = url.pathname;
  if (request.method === "POST" && path.startsWith("/mock/")) {
    const until = Date.now() + 1000 * Number(url.searchParams.get("for") ?? 10);
    if (path === "/mock/fail") failUntil = until;
    if (path === "/mock/mute-events") muteUntil = until;
    server.closeIdleConnections();
    return reply.writeHead(204).end();
  }
  if (path === "/") return file(reply, join(dist, "player/index.html"));
  if (path.startsWith("/embed/")) return file(reply, join(dist, "player/embed.html"));
  if (path.startsWith("/assets/")) return file(reply, join(dist, "player", normalize(path)));
  if (path === "/ops") return file(reply, join(dist, "ops/index.html"));
  if (path.startsWith("/ops/assets/")) return file(reply, join(dist, normalize(path)));
  if (Date.now() < failUntil) return reply.writeHead(503).end();
  if (path === "/live") return json(reply, listing());
  if (path === "/v1/history") return json(reply, fleet.history(url.searchParams.get("span") === "24h"));
  if (path === "/v1/operator" || path.endsWith("/drain") || path.endsWith("/pin") || path.endsWith("/weight")) return json(reply, { done: true });
  if (path === "/v1/foresight") return json(reply, { foreseen: foreseen() });
  if (path.startsWith("/v1/viewers/")) return json(reply, lookup(path.slice(12)));
  if (/^\/v1\/nodes\/[\w.-]+\/viewers$/.test(path)) return json(reply, lookup("00000000000a11ce.paris"));
  if (path === "/v1/overview") return json(reply, fleet.overview(true));
  if (path === "/v1/events") return Date.now() < muteUntil ? reply.writeHead(503).end() : events(reply);
  const named = /^\/(?:live|watch)\/([\w-]+)(?:\/index)?\.m3u8$/.exec(path);
  if (named && streams.includes(named[1])) return multivariant(reply, named[1]);
  const part = /^\/live\/[\w-]+\/v\/[\w-]+\/(index\.m3u8|init\.mp4|\d+\.m4s)$/.exec(path);
  if (part) return viewerObject(reply, part[1]);
  reply.writeHead(404).end();
}

function listing() {
  return { node: "primary", streams: streams.map(listed) };
}

function listed(name) {
  return { name, url: `/live/${name}/index.m3u8`, state: "live", past: 0, poster: false };
}

function multivariant(reply, stream) {
  const text = [
    "#EXTM3U",
    "#EXT-X-VERSION:7",
    "#EXT-X-INDEPENDENT-SEGMENTS",
    '#EXT-X-STREAM-INF:BANDWIDTH=2600000,RESOLUTION=1280x720,FRAME-RATE=30,CODECS="avc1.64001f,mp4a.40.2"',
    `/live/${stream}/v/mock/index.m3u8`,
    "",
  ].join("\n");
  reply.writeHead(200, { "content-type": TYPES[".m3u8"], "cache-control": "no-store" }).end(text);
}

/** The playlist is ffmpeg's own for the lowest rung, under rung-free names; so is the init. */
async function viewerObject(reply, name) {
  if (name === "index.m3u8") {
    const text = (await readFile(join(media, "0", "index.m3u8"), "utf8")).replaceAll(/init-\d\.mp4/g, "init.mp4");
    return reply.writeHead(200, { "content-type": TYPES[".m3u8"], "cache-control": "no-store" }).end(text);
  }
  if (name === "init.mp4") return file(reply, join(media, String(RUNGS.length - 1), `init-${RUNGS.length - 1}.mp4`));
  const number = Number.parseInt(name, 10);
  const rung = pin(number);
  const before = pins.get(number - 1) ?? rung;
  await file(reply, join(media, String(rung), name), {
    "spillway-rung": RUNGS[rung].name,
    "spillway-estimate": String(Math.round(RUNGS[rung].kbps * (1.6 + 0.5 * Math.random()))),
    "spillway-reason": before < rung ? "up" : before > rung ? "down" : "steady",
    "spillway-node": "primary",
  });
}

/** A walk over the rungs that stays a while, as a link would have it. */
function pin(number) {
  const before = pins.get(number - 1) ?? 1;
  if (!pins.has(number)) {
    const step = Math.random() < 0.25 ? (Math.random() < 0.5 ? -1 : 1) : 0;
    pins.set(number, Math.min(RUNGS.length - 1, Math.max(0, before + step)));
  }
  return pins.get(number);
}

function events(reply) {
  reply.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
  const send = (event, value) => reply.write(`event: ${event}\ndata: ${JSON.stringify(value)}\n\n`);
  const watcher = {
    overview: (first = false) => (Date.now() < failUntil ? reply.destroy() : send("overview", fleet.overview(first))),
    decision: (decision) => send("decision", decision),
  };
  fleet.watchers.add(watcher);
  reply.on("close", () => fleet.watchers.delete(watcher));
  watcher.overview(true);
}

function foreseen() {
  const decision = { at: "", region: "paris", node: "relay-paris-2", action: "launch", reason: "12 viewers of nodes that are to be drained have nowhere to go" };
  const drain = { at: "", region: "paris", node: "relay-paris-1", action: "drain", reason: "the operator wants it empty" };
  return [{ after_ms: 0, decision }, { after_ms: 2000, decision: drain }];
}

/** A viewer whose path breaks down for a while. */
function lookup(viewer) {
  const report = {
    viewer, stream: "demo", region: "paris", class: null, rung: 1, reason: "down", ceiling: 2, estimate_kbps: 1420, buffer_ms: 4180,
    stalls: 1, switches: 5, abandoned: 1, segments: 412, moved: false, since_s: 811, silent_ms: 640,
  };
  const decisions = Array.from({ length: 12 }, (_, i) => ({
    at_ms: Date.now() - (12 - i) * 2000, number: 52_000 + i, rule: "mpc", rung: i < 6 ? 2 : i === 6 ? 0 : 1,
    reason: i < 6 ? "steady" : i === 6 ? "emergency" : "up", estimate_kbps: i < 6 ? 3900 : 1420, deviation: 0.2,
    buffer_ms: i < 6 ? 6100 : 4100, playing: true, ceiling: 2, price: 0,
  }));
  const ladder = RUNGS.map(({ name, kbps }) => ({ name, kbps }));
  const told = { viewers: [report], streams: [{ stream: "demo", ladder, decisions }] };
  return { asked: 3, found: [{ node: "relay-paris-1", told }], silent: [] };
}

function json(reply, value) {
  reply.writeHead(200, { "content-type": "application/json", "cache-control": "no-store" }).end(JSON.stringify(value));
}

async function file(reply, path, more = {}) {
  const body = await readFile(path);
  reply.writeHead(200, { "content-type": TYPES[extname(path)] ?? "application/octet-stream", ...more }).end(body);
}

/**
 * All rungs from one ffmpeg, key frames aligned. Parameter sets are repeated in-band (`avc3`), so
 * that one init serves every rung.
 */
function encode() {
  const inputs = ["-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=30", "-f", "lavfi", "-i", "sine=frequency=330:sample_rate=48000"];
  const rungs = RUNGS.flatMap(({ size, kbps }, i) => [
    "-map", "0:v", "-map", "1:a", "-s", size, "-c:v", "libx264", "-preset", "ultrafast", "-bf", "0",
    "-profile:v", "high", "-b:v", `${kbps}k`, "-g", "60", "-keyint_min", "60", "-sc_threshold", "0", "-tag:v", "avc3",
    "-bsf:v", "dump_extra=freq=keyframe", "-c:a", "aac", "-b:a", "96k",
    "-f", "hls", "-hls_time", "2", "-hls_list_size", "8", "-hls_segment_type", "fmp4",
    "-hls_flags", "program_date_time+delete_segments+temp_file+independent_segments",
    "-hls_fmp4_init_filename", `init-${i}.mp4`, "-start_number", "1000",
    "-hls_segment_filename", join(media, String(i), "%d.m4s"), join(media, String(i), "index.m3u8"),
  ]);
  const made = spawn("mkdir", RUNGS.map((_, i) => join(media, String(i))));
  let child = null;
  made.on("exit", () => {
    child = spawn("ffmpeg", ["-hide_banner", "-loglevel", "error", "-re", ...inputs, ...rungs], {
      stdio: ["ignore", "ignore", "inherit"],
    });
  });
  return { kill: (signal) => child?.kill(signal) };
}
