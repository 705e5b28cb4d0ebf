//! A publisher of the test pattern: an ffmpeg that sends MPEG-TS to whoever connects, in real time, and can be killed and
//! started again.

import { free, run } from "./child.mjs";
import { FPS, source } from "./pattern.mjs";

export class Publisher {
  #port;
  #child;

  static async start() {
    const publisher = new Publisher();
    publisher.#port = await free();
    publisher.start();
    return publisher;
  }

  /** What a segmenter plays. */
  get url() {
    return `tcp://127.0.0.1:${this.#port}`;
  }

  start() {
    const graph = source().slice("lavfi:".length);
    const coding = ["-c:v", "libx264", "-preset", "ultrafast", "-b:v", "1500k", "-g", `${2 * FPS}`, "-c:a", "aac"];
    const parameters = ["-nostdin", "-v", "error", "-re", "-f", "lavfi", "-i", graph, ...coding];
    this.#child = run("ffmpeg", [...parameters, "-f", "mpegts", `${this.url}?listen=1`]);
  }

  kill() {
    this.#child.child.kill("SIGKILL");
    return this.#child.stop();
  }
}
