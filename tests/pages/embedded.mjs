//! The player alone, in a frame of somebody else's page: node embedded.mjs URL.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { story } from "./harness.mjs";

const [url] = process.argv.slice(2);

const page = `<!doctype html><html lang="en"><title>Somebody else's page</title>
<iframe src="${url}/embed/live" title="Live" width="640" height="360" allow="autoplay; fullscreen; picture-in-picture" style="border: 0"></iframe></html>`;
const host = createServer((request, answer) => {
  const found = request.url === "/";
  answer.writeHead(found ? 200 : 204, { "content-type": "text/html; charset=utf-8" }).end(found ? page : "");
});
await new Promise((ready) => host.listen(0, "127.0.0.1", ready));
const outside = `http://127.0.0.1:${host.address().port}`;

await story([url, outside], { width: 700, height: 420 }, async (visitor) => {
  await visitor.page.goto(outside);
  const frame = await visitor.frame("/embed/live");
  await visitor.until("window.spillway?.stats().playedSeconds > 1", undefined, frame);
  await frame.locator("#gear").click();
  await frame.locator("#details").click();
  await visitor.until("document.querySelectorAll('#strip rect').length > 0", undefined, frame);
  await visitor.accessible(frame);
  await visitor.picture("player-embedded");
  assert.equal(await frame.locator("#onair").count(), 0);
  return frame.evaluate("window.spillway.stats()");
});
host.close();
host.closeAllConnections();
