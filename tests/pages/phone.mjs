//! A phone's width: node phone.mjs URL.

import { story } from "./harness.mjs";

const [url] = process.argv.slice(2);

await story([url], { width: 360, height: 740, touch: true, dark: true, still: true }, async (visitor) => {
  const { page } = visitor;
  await page.goto(`${url}/?stream=live`);
  await visitor.until("window.spillway?.stats().playedSeconds > 1");
  await visitor.fits();
  await visitor.accessible();
  await visitor.picture("player-phone");
  await page.locator("#video").tap();
  await page.locator("#gear").tap();
  await visitor.fits();
  await visitor.accessible();
  await visitor.picture("player-phone-settings");
  await page.locator("#details").tap();
  await visitor.until("!document.getElementById('panel').hidden");
  await visitor.fits();
  return page.evaluate("window.spillway.stats()");
});
