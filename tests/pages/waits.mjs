//! A page that is there before its stream, and stays when that ends: node waits.mjs URL RTMP.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { story } from "./harness.mjs";

const [url, rtmp] = process.argv.slice(2);

/** Somebody publishes until it is told to stop. */
function publish() {
  const picture = ["-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30", "-f", "lavfi", "-i", "sine=sample_rate=48000"];
  const coded = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "60", "-c:a", "aac", "-f", "flv", rtmp];
  return spawn("ffmpeg", ["-v", "error", "-nostdin", ...picture, ...coded], { stdio: ["ignore", "inherit", "inherit"] });
}

let publisher = null;
await story([url], {}, async (visitor) => {
  const { page } = visitor;
  const says = (words) => visitor.until(`document.getElementById("overlay").innerText.includes(${JSON.stringify(words)})`, 40_000);
  visitor.excuse(/status of 404/);
  await page.goto(`${url}/?stream=live`);
  await says("“live” is not on air");
  for (const _ of ["first", "again"]) {
    publisher = publish();
    await visitor.until("window.spillway.stats().playing && document.getElementById('overlay').hidden", 40_000);
    publisher.kill("SIGTERM");
    await once(publisher, "exit");
    await says("The stream has ended");
  }
  // What has ended is a recording: from its beginning, with a beginning and an end.
  await page.click("#overlay-act");
  await visitor.until("window.spillway.stats().playing && /^0:0\\d \\/ 0:\\d\\d$/.test(document.getElementById('place').innerText)");
  return page.evaluate("window.spillway.stats()");
});
publisher?.kill("SIGKILL");
