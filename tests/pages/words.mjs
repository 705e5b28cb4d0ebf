//! What a viewer is told who cannot watch: node words.mjs URL TOKEN, of a node with tokens and one place.

import { story } from "./harness.mjs";

const [url, token] = process.argv.slice(2);

await story([url], {}, async (visitor) => {
  const { page } = visitor;
  const says = (words) => visitor.until(`document.getElementById("overlay").innerText.includes(${JSON.stringify(words)})`);
  // The browser's own line about each answer that is an error.
  visitor.excuse(/status of (401|403|503)/);
  await page.goto(url);
  await says("You need a ticket to watch this");
  await visitor.accessible();
  await page.goto(`${url}/embed/live?token=made.up`);
  await says("You need a ticket to watch this");
  await page.goto(`${url}/?stream=later&token=${token}`);
  await says("“later” is not on air");
  await visitor.picture("player-later");
  await page.goto(`${url}/?stream=live&token=${token}`);
  await visitor.until("window.spillway.stats().playedSeconds > 1");
  const other = await visitor.another();
  await other.page.goto(`${url}/?stream=live&token=${token}`);
  await other.until("document.getElementById('overlay').innerText.includes('This server is full right now')");
  await other.accessible();
  await other.picture("player-full");
});
