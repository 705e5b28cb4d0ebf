//! How far back a viewer can go, and where it is: in seconds behind the edge, whatever playlist is being played.
//!
//! Live, by parts, only the last seconds are listed: who goes back joins anew, for all that can still be watched.

import type { Playback } from "./playback";

/** So close to the edge is live. */
const LIVE = 8;
/** Below this there is nothing to go back to. */
const LEAST = 15;

export class Past {
  private known: number | null = null;
  private told = 0;

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly playback: Playback,
  ) {}

  /** So many seconds can be gone back now, says the node; null: it does not know. */
  tell(seconds: number | null): void {
    this.known = seconds;
    this.told = performance.now();
  }

  /** Seconds from the oldest that can be watched to the edge; 0 if one cannot go back. */
  get span(): number {
    const { long, listed } = this.playback;
    if (long && listed) return listed.edge - listed.start;
    if (this.known === null || this.known < LEAST) return 0;
    return this.known + (performance.now() - this.told) / 1_000;
  }

  /** Seconds behind the edge. */
  get behind(): number {
    const { listed, latency } = this.playback;
    // What has ended has an edge that stands; of what is live the player knows where it is between two reloads.
    if (listed && !listed.live) return Math.max(0, listed.edge - this.video.currentTime);
    return latency ?? 0;
  }

  /** So close to the edge that it makes no difference. */
  get live(): boolean {
    return !this.playback.long && (this.playback.behind ?? 0) < 4;
  }

  /** It is over, and has a beginning and an end. */
  get recorded(): boolean {
    return this.playback.listed?.live === false;
  }

  /** Goes to `behind` seconds behind the edge; what is close to it is live. */
  go(behind: number): void {
    const { playback, video, span } = this;
    const { listed } = playback;
    if (span === 0) return;
    const to = Math.min(Math.max(behind, 0), span);
    if (playback.long && listed) {
      if (listed.live && to < LIVE) return playback.goLive();
      video.currentTime = Math.max(listed.start + 0.1, video.currentTime + this.behind - to);
      return;
    }
    if (to < LIVE) return playback.goLive();
    // The beginning may be gone by the time that it is asked for: the node begins where it can.
    playback.rejoin({ start: `-${Math.round(to)}` });
  }

  /** After a pause: on from where one was, if that is still there. */
  resume(): void {
    const { playback } = this;
    const far = !playback.long && playback.state.name === "playing" && this.behind > LIVE + 4;
    if (far && this.span > this.behind) this.go(this.behind);
  }
}
