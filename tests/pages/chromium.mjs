//! How the tests start a browser. It is CHROMIUM or /usr/bin/chromium; playwright-core is web/'s own (`npm ci` there).

import { createRequire } from "node:module";

const { chromium } = createRequire(new URL("../../web/package.json", import.meta.url))("playwright-core");

const FLAGS = [
  "--no-sandbox",
  "--disable-quic",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
  "--autoplay-policy=no-user-gesture-required",
  "--mute-audio",
];

/** A headless Chromium that asks nobody for anything by itself, and plays sound without a click, to nobody. */
export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", headless: true, args: FLAGS });
}
