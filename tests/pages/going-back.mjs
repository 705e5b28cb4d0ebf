//! Back into the past, by the bar and by keys, and live again: node going-back.mjs URL.

import assert from "node:assert/strict";
import { story } from "./harness.mjs";

const [url] = process.argv.slice(2);

await story([url], {}, async (visitor) => {
  const { page } = visitor;
  await page.goto(`${url}/?stream=live`);
  await visitor.until("window.spillway?.stats().playedSeconds > 1");
  // There is a bar as soon as there is something to go back to.
  await visitor.until("window.spillway.stats().past > 15", 60_000);
  await page.mouse.move(400, 300);
  const bar = await page.locator("#seek").boundingBox();
  await page.mouse.move(bar.x + 0.3 * bar.width, bar.y + bar.height / 2);
  await visitor.until("document.getElementById('tile').style.backgroundImage.includes('/storyboard/')");
  assert.match(await page.locator("#preview-time").innerText(), /^\d\d:\d\d:\d\d · −\d:\d\d$/);
  await visitor.picture("player-past");
  await page.mouse.click(bar.x + 0.3 * bar.width, bar.y + bar.height / 2);
  await visitor.until("window.spillway.stats().playing && !window.spillway.stats().byParts && window.spillway.stats().behind > 8");
  const back = await page.evaluate("window.spillway.stats()");
  assert.match(await page.locator("#live").innerText(), /^Go live · −\d:\d\d$/);
  await visitor.accessible();
  // Further back, without joining anew; then to the beginning.
  await page.keyboard.press("Home");
  await visitor.until(`window.spillway.stats().playing && window.spillway.stats().behind > ${back.behind + 1}`);
  assert.match(await page.locator("#seek").getAttribute("aria-valuetext"), /^\d:\d\d behind live$/);
  await page.keyboard.press("l");
  await visitor.until("window.spillway.stats().playing && window.spillway.stats().byParts");
  assert.equal(await page.locator("#seek").getAttribute("aria-valuetext"), "Live");
  // Without parts it is further behind, and says so.
  await page.click("#gear");
  await visitor.accessible();
  await page.locator("#low").uncheck();
  await visitor.until("window.spillway.stats().playing && !window.spillway.stats().byParts && window.spillway.stats().latency > 3");
  return { back };
});
