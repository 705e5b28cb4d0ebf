//! What this viewer really got: rungs, stalls, dropped frames, seconds played.
//!
//! It only observes the <video> element and the replies it is told of; it never steers playback.

/** One media segment as the server gave it. */
export interface Step {
  sn: number;
  rung: string;
}

/** What the server says with each segment. */
export interface Word {
  rung: string | null;
  /** kbit/s, as the server measured it on the way to this viewer. */
  estimate: number | null;
  reason: string | null;
  node: string | null;
}

/** As many segments as the strip of rungs shows. */
export const STRIP = 60;

export class Telemetry {
  word: Word = { rung: null, estimate: null, reason: null, node: null };
  stalls = 0;
  switches = 0;
  playedSeconds = 0;
  startupMs: number | null = null;
  readonly rungs: string[] = [];
  readonly errors: string[] = [];
  steps: Step[] = [];

  private readonly opened = performance.now();
  private stalledBefore = 0;
  private stallFrom: number | null = null;
  private started = false;
  private screen: number | null = null;
  private lastShown: string | null = null;
  private position = 0;

  constructor(private readonly video: HTMLVideoElement) {
    video.addEventListener("playing", () => this.playing());
    video.addEventListener("waiting", () => this.waiting());
    video.addEventListener("timeupdate", () => this.advanced());
    for (const end of ["pause", "ended"]) video.addEventListener(end, () => this.resume());
  }

  /** A segment or a part of one arrived, with these headers. */
  received(sn: number, header: (name: string) => string | null): void {
    const estimate = header("Spillway-Estimate");
    const kbps = estimate === null ? Number.NaN : Number.parseFloat(estimate);
    this.word = {
      rung: header("Spillway-Rung") ?? this.word.rung,
      estimate: Number.isFinite(kbps) ? kbps : null,
      reason: header("Spillway-Reason"),
      node: header("Spillway-Node") ?? this.word.node,
    };
    const { rung } = this.word;
    if (rung === null) return;
    if (!this.rungs.includes(rung)) this.rungs.push(rung);
    const last = this.steps.at(-1);
    if (last?.sn === sn && last.rung === rung) return;
    if (last && last.rung !== rung) this.switches += 1;
    // Brought down in the middle of a segment, by its next part: it is what it became.
    const before = last?.sn === sn ? this.steps.slice(0, -1) : this.steps;
    this.steps = [...before, { sn, rung }].slice(-STRIP);
  }

  /** The segment with this number came onto the screen. */
  onScreen(sn: number): void {
    this.screen = sn;
  }

  /** The rung of the segment on the screen now; the newest one loaded is `word.rung`. */
  get shown(): string | null {
    // The last time that it came: who went back has it anew.
    const step = [...this.steps].reverse().find(({ sn }) => sn === this.screen);
    this.lastShown = step?.rung ?? this.lastShown;
    return this.lastShown;
  }

  /** The page itself breaks the picture off to connect anew: that is a stall like any other. */
  interrupted(): void {
    if (this.started && !this.video.paused) this.stallFrom ??= this.countStall();
  }

  /** The same stream is joined anew because the viewer wants it otherwise: that is no stall. */
  rejoined(): void {
    this.resume();
    this.started = false;
  }

  /** Another stream was chosen: its start-up is no stall, its rungs are its own. */
  restarted(): void {
    this.rejoined();
    this.steps = [];
    this.rungs.length = 0;
    this.screen = null;
    this.lastShown = null;
    this.word = { rung: null, estimate: null, reason: null, node: null };
  }

  failed(line: string): void {
    this.errors.push(line);
    if (this.errors.length > 100) this.errors.shift();
  }

  /** Milliseconds without a moving picture since playback began, a stall under way included. */
  get stalledMs(): number {
    return Math.round(this.stalledBefore + (this.stallFrom === null ? 0 : performance.now() - this.stallFrom));
  }

  get stalled(): boolean {
    return this.stallFrom !== null;
  }

  get droppedFrames(): number {
    return this.video.getVideoPlaybackQuality?.().droppedVideoFrames ?? 0;
  }

  /** Seconds of media ahead of the picture. */
  get buffer(): number {
    const { buffered, currentTime } = this.video;
    for (let i = 0; i < buffered.length; i += 1) {
      // A tenth of a second: browsers place the picture a little before the range it plays from.
      if (buffered.start(i) <= currentTime + 0.1 && currentTime <= buffered.end(i)) {
        return buffered.end(i) - currentTime;
      }
    }
    return 0;
  }

  private playing(): void {
    this.started = true;
    this.startupMs ??= Math.round(performance.now() - this.opened);
    this.position = this.video.currentTime;
    this.resume();
  }

  private waiting(): void {
    // Waiting before the first picture is start-up, and after a seek it was asked for.
    if (!this.started || this.video.seeking || this.video.paused || this.stallFrom !== null) return;
    this.stallFrom = this.countStall();
  }

  private countStall(): number {
    this.stalls += 1;
    return performance.now();
  }

  private resume(): void {
    if (this.stallFrom === null) return;
    this.stalledBefore += performance.now() - this.stallFrom;
    this.stallFrom = null;
  }

  private advanced(): void {
    const moved = this.video.currentTime - this.position;
    this.position = this.video.currentTime;
    // timeupdate comes at least four times a second; a larger step is a seek, not playback.
    if (moved > 0 && moved < 2 && !this.video.seeking) this.playedSeconds += moved;
  }
}
