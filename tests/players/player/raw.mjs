//! Pictures and sound as players write them to pipes.

import { number } from "../pattern.mjs";

/** Uncompressed pictures with a header before each run of one size. */
export class Y4m {
  #rest = Buffer.alloc(0);
  #size = null;
  #shown;

  constructor(shown) {
    this.#shown = shown;
  }

  read(octets) {
    this.#rest = this.#rest.length ? Buffer.concat([this.#rest, octets]) : octets;
    while (this.#take());
  }

  #take() {
    const end = this.#rest.subarray(0, 200).indexOf(10);
    if (end < 0) return false;
    const line = this.#rest.subarray(0, end).toString("latin1");
    const [, width, height] = /^YUV4MPEG2 W(\d+) H(\d+)/.exec(line) ?? [];
    if (width) {
      this.#size = { width: Number(width), height: Number(height) };
      this.#rest = this.#rest.subarray(end + 1);
      return true;
    }
    if (!line.startsWith("FRAME") || !this.#size) throw new Error(`this is no picture: ${line.slice(0, 40)}`);
    const { width: w, height: h } = this.#size;
    const length = w * h + 2 * Math.ceil(w / 2) * Math.ceil(h / 2);
    const start = end + 1;
    if (this.#rest.length < start + length) return false;
    const picture = this.#rest.subarray(start, start + length);
    this.#shown({ number: number(w, h, (x, y) => picture[y * w + x]), width: w, height: h });
    this.#rest = this.#rest.subarray(start + length);
    return true;
  }
}

/** Pictures of one size, in grey, one after the other. */
export class Grey {
  #rest = Buffer.alloc(0);

  constructor(width, height, shown) {
    Object.assign(this, { width, height, shown });
  }

  read(octets) {
    this.#rest = Buffer.concat([this.#rest, octets]);
    const length = this.width * this.height;
    while (this.#rest.length >= length) {
      const picture = this.#rest.subarray(0, length);
      this.shown({ number: number(this.width, this.height, (x, y) => picture[y * this.width + x]) });
      this.#rest = this.#rest.subarray(length);
    }
  }
}

/** Sound in 16 bits; of more channels the first. */
export class Pcm {
  #rest = Buffer.alloc(0);

  constructor(channels, heard) {
    Object.assign(this, { channels, heard });
  }

  read(octets) {
    this.#rest = Buffer.concat([this.#rest, octets]);
    const count = Math.floor(this.#rest.length / 2 / this.channels);
    const samples = new Float32Array(count);
    for (let index = 0; index < count; index++) samples[index] = this.#rest.readInt16LE(index * 2 * this.channels) / 32768;
    this.#rest = this.#rest.subarray(count * 2 * this.channels);
    this.heard(samples);
  }
}
