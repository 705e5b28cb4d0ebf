//! Plays on the player page in a real headless Chromium and says, as one line of JSON, what happened.
//!
//!     node browser.mjs URL [--seconds N] [--throttle "t:kbps,t:kbps"] [--screenshot FILE] [--width W] [--height H] [--dark]
//!
//! `--throttle "0:0,10:800,25:0"` limits the download from that many seconds after the page opened,
//! in kbit/s; 0 lifts the limit. Chromium throttles behind its sockets, so a server that measures
//! TCP sees it late and softened: shape a real link where that matters.
//! Judging the numbers is the caller's business. It fails only when the page never came to life.

import { parseArgs } from "node:util";
import { launch } from "../pages/chromium.mjs";

/** What the player made of captions and of metadata. A track that is disabled does not show its cues. */
const TEXTS = `[...window.spillway.texts(), ...[...document.querySelector("video").textTracks].map((track) => {
  if (track.mode === "disabled") track.mode = "hidden";
  const cue = ({ startTime, endTime, text, type, value }) => ({ startTime, endTime, text, type, key: value?.key });
  return { kind: track.kind, label: track.label, cues: [...(track.cues ?? [])].map(cue) };
})]`;

/** How long the page may take to play, in milliseconds. */
const PATIENCE = 20_000;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: "string", default: "10" },
    throttle: { type: "string" },
    screenshot: { type: "string" },
    width: { type: "string", default: "1280" },
    height: { type: "string", default: "800" },
    dark: { type: "boolean", default: false },
  },
});
const [target] = positionals;
if (!target) fail("usage: browser.mjs URL [options]; see the head of the file", 2);

const browser = await launch().catch((error) => fail(`chromium did not start: ${error.message}`));
try {
  const page = await browser.newPage({
    viewport: { width: Number(options.width), height: Number(options.height) },
    colorScheme: options.dark ? "dark" : "light",
  });
  const seen = observe(page, target);
  const result = await play(page, seen);
  if (options.screenshot) await page.screenshot({ path: options.screenshot, fullPage: true });
  console.log(JSON.stringify({ ...result, ...seen }));
} catch (error) {
  process.exitCode = 1;
  console.error(`${target}: ${error.message}`);
} finally {
  await browser.close();
}

async function play(page, seen) {
  const schedule = parseThrottle(options.throttle);
  const throttle = await throttler(page);
  const early = schedule.filter((step) => step.at <= 0).at(-1);
  if (early) await throttle(early.kbps);
  const timers = schedule
    .filter((step) => step.at > 0)
    .map((step) => setTimeout(() => throttle(step.kbps).catch(() => {}), step.at * 1000));
  try {
    await page.goto(target, { waitUntil: "domcontentloaded" });
    await until(page, "window.spillway?.stats().playing", () => playerStory(page, seen));
    return await watch(page, Number(options.seconds));
  } finally {
    timers.forEach(clearTimeout);
  }
}

/** Plays on for `seconds` of wall time, one sample a second, and returns the last numbers. */
async function watch(page, seconds) {
  const timeline = [];
  const until = Date.now() + seconds * 1000;
  const read = () => page.evaluate("window.spillway.stats()");
  while (Date.now() < until) {
    const { rung, shownRung, node, buffer, latency, age, stalls, currentTime, playing } = await read();
    timeline.push({ at: Date.now(), rung, shownRung, node, buffer, latency, age, stalls, currentTime, playing });
    await page.waitForTimeout(Math.max(0, Math.min(1_000, until - Date.now())));
  }
  return { ...(await read()), timeline, texts: await page.evaluate(TEXTS) };
}

/** Looked at from outside: the page's policy forbids to compile text in it. */
async function until(page, expression, story) {
  const deadline = Date.now() + PATIENCE;
  while (Date.now() < deadline) {
    if (await page.evaluate(expression).catch(() => false)) return;
    await page.waitForTimeout(100);
  }
  throw new Error(`after ${PATIENCE / 1000} s this was still not so: ${expression}; ${await story()}`);
}

async function playerStory(page, seen) {
  const stats = await page.evaluate("window.spillway?.stats() ?? null").catch(() => null);
  const shown = await page.locator("#overlay").innerText().catch(() => "");
  return JSON.stringify({ shown, stats, ...seen });
}

/** Collects what must not be: console errors, and requests to hosts nobody named. */
function observe(page, url) {
  const seen = { consoleErrors: [], externalRequests: [], failedRequests: [] };
  const known = new Set([new URL(url).hostname, "localhost", "127.0.0.1", "[::1]"]);
  const join = new URL(url).searchParams.get("join");
  if (join && URL.canParse(join)) known.add(new URL(join).hostname);
  page.on("console", (message) => {
    if (message.type() === "error") seen.consoleErrors.push(`${message.text()} (${message.location().url})`);
  });
  page.on("pageerror", (error) => seen.consoleErrors.push(String(error.stack ?? error)));
  page.on("request", (request) => {
    const { protocol, hostname } = new URL(request.url());
    if (protocol.startsWith("http") && !known.has(hostname)) seen.externalRequests.push(request.url());
  });
  page.on("requestfailed", (request) => {
    seen.failedRequests.push(`${request.failure()?.errorText} ${request.url()}`);
  });
  return seen;
}

async function throttler(page) {
  const session = await page.context().newCDPSession(page);
  await session.send("Network.enable");
  return (kbps) =>
    session.send("Network.emulateNetworkConditions", {
      offline: false,
      latency: 0,
      // In octets per second; -1 is no limit.
      downloadThroughput: kbps > 0 ? (kbps * 1000) / 8 : -1,
      uploadThroughput: -1,
    });
}

function parseThrottle(text) {
  if (!text) return [];
  return text.split(",").map((step) => {
    const [at, kbps] = step.split(":").map(Number);
    if (!Number.isFinite(at) || !Number.isFinite(kbps)) fail(`--throttle: "${step}" is not seconds:kbit/s`, 2);
    return { at, kbps };
  });
}

function fail(message, code = 1) {
  console.error(message);
  process.exit(code);
}
