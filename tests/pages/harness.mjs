//! A page in a real headless Chromium: opened, looked at, and judged by what every page of ours has to be.
//!
//!     import { story } from "./harness.mjs";
//!     await story([url], { dark: true }, async (visitor) => {
//!       await visitor.page.goto(url);
//!       await visitor.until("window.spillway?.stats().playing");
//!       await visitor.accessible();
//!       await visitor.picture("player-dark");
//!       return { what: "is printed, as one line of JSON" };
//!     });
//!
//! A story fails, whatever it claims itself, with the first error on the console, the first uncaught error, and any
//! request to an origin that it was not given. What a story is about is its script's business; which processes it
//! meets is that of tests/pages.rs.
//!
//! The browser is chromium.mjs'; axe-core is web/'s own (`npm ci` there).
//! SPILLWAY_SCREENSHOTS names a folder for pictures; without it none are made.

import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { launch } from "./chromium.mjs";

const require = createRequire(new URL("../../web/package.json", import.meta.url));
const axe = await readFile(require.resolve("axe-core/axe.min.js"), "utf8");

/** How long anything may take that a story waits for, in milliseconds. */
const PATIENCE = 20_000;

/**
 * Tells one story with one browser, prints what it returns, and sets the exit code. `urls` are those whose origins may
 * be asked. `options`: width, height, dark, still (the viewer wants no motion), touch (a phone).
 */
export async function story(urls, options, tell) {
  const browser = await launch();
  try {
    const context = await browser.newContext({
      viewport: { width: options.width ?? 1280, height: options.height ?? 800 },
      colorScheme: options.dark ? "dark" : "light",
      reducedMotion: options.still ? "reduce" : "no-preference",
      hasTouch: options.touch ?? false,
      isMobile: options.touch ?? false,
    });
    context.setDefaultTimeout(PATIENCE);
    const visitor = new Visitor(await context.newPage(), urls);
    const told = await tell(visitor).catch((error) => {
      throw new Error(`${error.message}\n${JSON.stringify(visitor.seen)}`, { cause: error });
    });
    visitor.judge();
    console.log(JSON.stringify(told ?? {}));
  } catch (error) {
    process.exitCode = 1;
    console.error(error.stack);
  } finally {
    await browser.close();
  }
}

export class Visitor {
  /** Complaints of the page, and requests to origins that nobody named. */
  seen = { errors: [], strangers: [] };
  #excused = [];

  constructor(page, urls) {
    this.page = page;
    const known = new Set(urls.map((url) => new URL(url).origin));
    const context = page.context();
    // Of the context, so that frames and pages that are opened are heard as well.
    context.on("console", (message) => {
      if (message.type() === "error") this.#complain(`${message.text()} (${message.location().url})`);
    });
    context.on("weberror", (error) => this.#complain(String(error.error().stack ?? error.error())));
    context.on("request", (request) => {
      const { protocol, origin } = new URL(request.url());
      const asks = ["http:", "https:", "ws:", "wss:"].includes(protocol);
      if (asks && !known.has(origin)) this.seen.strangers.push(request.url());
    });
  }

  /** Complaints that match belong to the story, such as a browser's own line about an answer of 404. */
  excuse(pattern) {
    this.#excused.push(pattern);
  }

  #complain(line) {
    if (!this.#excused.some((pattern) => pattern.test(line))) this.seen.errors.push(line);
  }

  judge() {
    assert.deepEqual(this.seen, { errors: [], strangers: [] });
  }

  /** Another page of the same browser, which is judged with this one. */
  async another() {
    const other = Object.create(this);
    other.page = await this.page.context().newPage();
    return other;
  }

  /** The frame whose address ends so. */
  async frame(end) {
    const deadline = Date.now() + PATIENCE;
    while (Date.now() < deadline) {
      const found = this.page.frames().find((frame) => new URL(frame.url(), "http://none").pathname.endsWith(end));
      if (found) return found;
      await delay(50);
    }
    throw new Error(`there is no frame ${end} after ${PATIENCE / 1000} s`);
  }

  /** Waits until `expression` holds in the page. Looked at from outside: the page's policy forbids to compile text in it. */
  async until(expression, patience = PATIENCE, frame = this.page) {
    const deadline = Date.now() + patience;
    let why = "";
    while (Date.now() < deadline) {
      // A page that is being loaded has nothing to evaluate in.
      const holds = await frame.evaluate(expression).catch((error) => void (why = error.message));
      if (holds) return;
      await delay(50);
    }
    const text = await frame.locator("body").innerText().catch(() => "");
    throw new Error(`after ${patience / 1000} s this was still not so: ${expression}\n${why}\nthe page said:\n${text}`);
  }

  /** Nothing that axe calls serious or critical, in `frame` or the page itself. */
  async accessible(frame = this.page) {
    // Evaluated, not put into the page: a policy for its contents does not hold against who debugs it.
    await frame.evaluate(axe);
    const found = await frame.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"], iframes: false }));
    const grave = found.violations.filter(({ impact }) => impact === "serious" || impact === "critical");
    const told = grave.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => `${node.html} ${node.failureSummary}`).join("; ")}`);
    assert.deepEqual(told, []);
    assert.ok(found.passes.length > 0, "axe found nothing to look at");
  }

  /** Nothing of the page reaches beyond its window sideways. */
  async fits() {
    const [wide, window, widest] = await this.page.evaluate(() => {
      const room = document.documentElement.clientWidth;
      const over = [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > room + 1);
      return [document.documentElement.scrollWidth, room, over.slice(0, 5).map((one) => one.outerHTML.slice(0, 120))];
    });
    assert.ok(wide <= window, `${wide} pixels in a window of ${window}: ${widest.join("\n")}`);
  }

  /** A screenshot, for people; `options` are Playwright's. */
  async picture(name, options = {}) {
    const folder = process.env.SPILLWAY_SCREENSHOTS;
    if (!folder) return;
    await mkdir(folder, { recursive: true });
    await this.page.screenshot({ path: join(folder, `${name}.png`), ...options });
  }
}
