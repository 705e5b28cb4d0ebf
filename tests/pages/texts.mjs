//! Captions in the pictures, subtitles and a choice of sound: node texts.mjs URL, of a node with the streams `captioned`
//! and `bilingual`.

import assert from "node:assert/strict";
import { story } from "./harness.mjs";

const [url] = process.argv.slice(2);
const CAPTION = "CAPTIONS ARE NOT LOST WITH A PICTURE";

await story([url], {}, async (visitor) => {
  const { page } = visitor;
  // By parts, as MPEG-TS: in either, a caption that is written in one part is shown by another.
  for (const query of ["", "&format=ts"]) {
    await page.goto(`${url}/?stream=captioned${query}`);
    await visitor.until("window.spillway?.texts().some((text) => text.label === 'CC1')", 30_000);
    await page.keyboard.press("c");
    await visitor.until(`document.getElementById("captions").innerText === "${CAPTION}"`, 30_000);
  }
  await visitor.accessible();
  await visitor.picture("player-captions");
  const read = await page.evaluate("window.spillway.texts()");
  const cues = read.find((text) => text.label === "CC1").cues;
  assert.deepEqual([...new Set(cues.map((cue) => cue.text))], [CAPTION]);
  await page.keyboard.press("c");
  await visitor.until("document.getElementById('captions').hidden");

  await page.goto(`${url}/?stream=bilingual`);
  await visitor.until("window.spillway?.stats().playedSeconds > 1");
  await page.mouse.move(400, 300);
  await page.click("#gear");
  await visitor.accessible();
  await visitor.picture("player-settings");
  await page.getByLabel("Kommentar").check();
  await visitor.until("window.spillway.stats().sound === 'Kommentar' && window.spillway.stats().playing");
  await page.locator("#texts label").last().click();
  await visitor.until("document.getElementById('captions').innerText.startsWith('Over the edge')", 30_000);
  // Of a text of the stream's, what is slanted is slanted, and nothing else becomes HTML.
  assert.equal(await page.locator("#captions i").first().innerText(), "Over");
  return page.evaluate("window.spillway.texts()");
});
