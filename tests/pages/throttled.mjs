//! A link that falls: the page shows the change of the rung, and why: node throttled.mjs URL TOP. When it plays in the
//! rung TOP it says `at the top`: whoever hears that narrows the link.

import assert from "node:assert/strict";
import { story } from "./harness.mjs";

const [url, top] = process.argv.slice(2);

await story([url], {}, async (visitor) => {
  const { page } = visitor;
  await page.goto(`${url}/?stream=live`);
  await page.locator("#given").click();
  await visitor.until(`window.spillway.stats().shownRung === "${top}"`, 40_000);
  console.log("at the top");
  // The server says why with the segment that it comes down with.
  await visitor.until("/less than before|very slow/.test(document.getElementById('reason').innerText)", 40_000);
  const why = await page.locator("#reason").innerText();
  // Once that is on the screen: in the line beside the title, large in the panel, and as another step of the strip.
  await visitor.until(`window.spillway.stats().shownRung !== "${top}"`);
  await visitor.until(`["rung", "given-rung"].every((id) => document.getElementById(id).innerText === window.spillway.stats().shownRung)`);
  const heights = await page.locator("#strip rect").evaluateAll((bars) => new Set(bars.map((bar) => bar.getAttribute("height"))).size);
  assert.ok(heights > 1, `${heights} heights of bars`);
  await visitor.accessible();
  await visitor.picture("player-throttled");
  return { why, ...(await page.evaluate("window.spillway.stats()")) };
});
