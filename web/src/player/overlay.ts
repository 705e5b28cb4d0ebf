//! What is said on the picture: why there is none, and how far from live it is. It shows; it decides nothing.

import { byId, say } from "../shared/dom";
import { offset } from "../shared/format";
import type { Past } from "./past";
import type { Playback, State } from "./playback";
import type { Telemetry } from "./telemetry";

export class Overlay {
  private readonly stage = byId("stage");
  private readonly root = byId("overlay");
  private readonly title = byId("overlay-title");
  private readonly text = byId("overlay-text");
  private readonly act = byId<HTMLButtonElement>("overlay-act");
  private readonly live = byId("live");
  private readonly hold = byId<HTMLCanvasElement>("hold");

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly playback: Playback,
    private readonly past: Past,
    private readonly telemetry: Telemetry,
  ) {
    this.act.addEventListener("click", () => {
      playback.retryNow();
      void playback.play();
    });
    video.addEventListener("playing", () => this.release());
  }

  /** No stream to play: says why, and that the page keeps looking. */
  empty(title: string, text: string): void {
    this.stage.dataset["state"] = "empty";
    this.show(title, text, null);
  }

  /** Keeps the picture that is there while the next one is fetched. */
  keep(): void {
    const { video, hold } = this;
    if (video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA || video.videoWidth === 0) return;
    hold.width = video.videoWidth;
    hold.height = video.videoHeight;
    hold.getContext("2d")?.drawImage(video, 0, 0);
    hold.hidden = false;
  }

  refresh(): void {
    const { state } = this.playback;
    if (state.name === "idle") return;
    this.stage.dataset["state"] = state.name === "playing" && this.telemetry.stalled ? "stalled" : state.name;
    this.say(state);
    this.liveness(state);
  }

  private say(state: State): void {
    const running = !this.video.paused && this.video.readyState >= HTMLMediaElement.HAVE_FUTURE_DATA;
    switch (state.name) {
      case "blocked":
        return this.show("Ready", "Your browser asks for a click before it plays.", "Play");
      case "unable":
        return this.show(state.title, state.why, "Try again");
      case "ended":
        return this.show("The stream has ended", "If it starts again, it will be here.", "Watch again");
      case "connecting":
        // After a failure the words stay until there is a picture: no flicker at each attempt.
        if (state.after === null) return this.hide();
        return this.show(state.after, "Connecting.", null);
      case "retrying": {
        const left = Math.max(0, Math.ceil((state.at - Date.now()) / 1000));
        const where = state.rejoin ? "Asking the traffic manager for another server" : "Trying again";
        // The buffered picture is worth more than an apology over it.
        if (running) return this.hide();
        return this.show(state.why, `${where} ${left > 0 ? `in ${left} s` : "now"}.`, "Try now");
      }
      default:
        return this.hide();
    }
  }

  private liveness(state: State): void {
    const { behind, long } = this.playback;
    const on = state.name === "playing" && !this.past.recorded;
    const late = long || (behind !== null && behind > 4);
    this.live.hidden = !on || (behind === null && !long);
    this.live.dataset["late"] = String(late);
    say(this.live, late ? `Go live · −${offset(long ? this.past.behind : (behind ?? 0))}` : "Live");
  }

  private show(title: string, text: string, act: string | null): void {
    this.release();
    this.root.hidden = false;
    say(this.title, title);
    say(this.text, text);
    this.act.hidden = act === null;
    if (act !== null) say(this.act, act);
  }

  private hide(): void {
    this.root.hidden = true;
  }

  private release(): void {
    this.hold.hidden = true;
  }
}
