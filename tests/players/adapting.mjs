//! Runs Chromium with hls.js on one stream, and prints what the page says, a line of JSON each. To be run at the far end
//! of a link: the page is served here, so that nothing but the stream comes over it.
//!
//!     node adapting.mjs URL --at MILLISECONDS --seconds N [--whole] --folder FOLDER
//!
//! See page/adapting.js for the lines. FOLDER takes the browser's profile; who made it takes it away.

import { parseArgs } from "node:util";
import { run } from "./child.mjs";
import { browsers, serve } from "./player/browser.mjs";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    at: { type: "string" },
    seconds: { type: "string", default: "60" },
    whole: { type: "boolean", default: false },
    folder: { type: "string" },
  },
});

let finished;
const done = new Promise((over) => (finished = over));
const page = await serve((said) => {
  console.log(said);
  if (said.includes('"kind":"done"')) finished();
});
const { at, seconds, folder } = options;
const query = new URLSearchParams({ src: positionals[0], at, seconds, ...(options.whole && { whole: "" }) });
const url = `http://127.0.0.1:${page.port}/page/adapting.html?${query}`;
const { program, command } = browsers.Chromium;
const said = [];
const browser = run(program, command(folder, url), { said: (line) => said.push(line), env: { HOME: folder } });
const patience = Number(at) - Date.now() + (Number(seconds) + 20) * 1000;
let clock;
const late = new Promise((over) => (clock = setTimeout(over, patience, "late")));
const ended = await Promise.race([done, browser.ended, late]);
clearTimeout(clock);
await browser.stop();
page.close();
if (ended !== undefined) {
  console.error(`${program} ${ended === "late" ? "did not finish in time" : "ended by itself"}; it said ${said.slice(-5).join(" | ")}`);
  process.exitCode = 1;
}
