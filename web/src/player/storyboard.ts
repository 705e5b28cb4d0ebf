//! Small pictures of what can be watched, to look for a place by: fetched when somebody looks, told by how far behind
//! the edge they are.

export interface Tile {
  url: string;
  x: number;
  y: number;
  width: number;
  height: number;
}

interface Cue extends Tile {
  start: number;
  end: number;
}

/** It grows with each segment; who looks for a place minutes back does not mind the last seconds. */
const FRESH_MS = 10_000;

export class Storyboard {
  private cues: readonly Cue[] = [];
  /** Where its times end, and when that was the edge. */
  private end = 0;
  private fetched = -Infinity;
  private fetching = false;

  /** `url`: of the WebVTT; `onchange`: another one is here, which spans so many seconds. */
  constructor(
    private readonly url: string,
    private readonly onchange: (span: number) => void,
  ) {}

  /** Fetches it, unless it is fresh. A stream without stills has none, and then there are no pictures. */
  async look(): Promise<void> {
    if (this.fetching || performance.now() - this.fetched < FRESH_MS) return;
    this.fetching = true;
    try {
      const reply = await fetch(this.url);
      this.cues = reply.ok ? parsed(await reply.text(), this.url) : [];
    } catch {
      // The node is gone; what is here may still be looked at.
    }
    this.end = this.cues.at(-1)?.end ?? 0;
    this.fetched = performance.now();
    this.fetching = false;
    this.onchange(this.end - (this.cues[0]?.start ?? 0));
  }

  /** The picture of what is `behind` seconds behind the edge now; with `live`, the edge moves on. */
  at(behind: number, live: boolean): Tile | null {
    const passed = live ? (performance.now() - this.fetched) / 1_000 : 0;
    const time = this.end - behind + passed;
    let [low, high] = [0, this.cues.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.cues[middle]?.start ?? 0) <= time) low = middle;
      else high = middle - 1;
    }
    return this.cues[low] ?? null;
  }
}

/** The cues of a storyboard whose names are relative to `base`; what is not understood is left out. */
function parsed(text: string, base: string): Cue[] {
  const cues: Cue[] = [];
  for (const block of text.split(/\n\s*\n/)) {
    const timed = /(\d+):(\d\d):(\d\d\.\d+) --> (\d+):(\d\d):(\d\d\.\d+)\s*\n(\S+)#xywh=(\d+),(\d+),(\d+),(\d+)/.exec(block);
    if (!timed) continue;
    const [start, end] = [seconds(timed[1], timed[2], timed[3]), seconds(timed[4], timed[5], timed[6])];
    const [x = 0, y = 0, width = 0, height = 0] = timed.slice(8, 12).map(Number);
    const url = new URL(timed[7] ?? "", base).href;
    cues.push({ start, end, url, x, y, width, height });
  }
  return cues;
}

function seconds(hours = "0", minutes = "0", rest = "0"): number {
  return Number(hours) * 3_600 + Number(minutes) * 60 + Number(rest);
}
