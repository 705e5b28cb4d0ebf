//! The player page plays, and says what the server chose: node plays.mjs URL [dark].

import assert from "node:assert/strict";
import { story } from "./harness.mjs";

const [url, theme = "light"] = process.argv.slice(2);

await story([url], { dark: theme === "dark" }, async (visitor) => {
  const { page } = visitor;
  await page.goto(`${url}/?stream=live`);
  await visitor.until("window.spillway?.stats().playedSeconds > 2");
  await visitor.accessible();
  // In a line beside the title, and all of it on demand.
  assert.match(await page.locator("#given").innerText(), /^\d+p\s+\w/);
  await page.keyboard.press("i");
  await visitor.until("document.querySelectorAll('#strip rect').length > 0");
  const panel = await page.locator("#panel").innerText();
  for (const words of [/Chosen for you by the server|comes next/, /Why this rung\s+\w/, /bit\/s/, /Node\s+primary/, /by parts/]) assert.match(panel, words);
  await visitor.accessible();
  await visitor.picture(`player-${theme}`);
  // The keyboard: each key does what the list of keys says.
  await page.keyboard.press("?");
  await visitor.until("document.getElementById('keys-dialog').open");
  await visitor.accessible();
  await page.keyboard.press("Escape");
  await visitor.until("!document.getElementById('keys-dialog').open");
  await page.keyboard.press("m");
  await visitor.until("!video.muted");
  await page.keyboard.press("ArrowDown");
  await visitor.until("video.volume === 0.95");
  await page.keyboard.press(" ");
  await visitor.until("video.paused");
  await page.keyboard.press("k");
  await visitor.until("window.spillway.stats().playing");
  return page.evaluate("window.spillway.stats()");
});
