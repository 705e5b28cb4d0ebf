//! The buttons over the picture. They act on the <video>; what is live and what a retry does is asked of `playback`.

import { byId, say } from "../shared/dom";
import type { Past } from "./past";
import type { Playback } from "./playback";

type WebkitVideo = HTMLVideoElement & { webkitEnterFullscreen?: () => void };

export class Controls {
  private readonly stage = byId("stage");
  private readonly full = byId<HTMLButtonElement>("full");

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly playback: Playback,
    private readonly past: Past,
  ) {
    const play = byId<HTMLButtonElement>("play");
    const mute = byId<HTMLButtonElement>("mute");
    const unmute = byId<HTMLButtonElement>("unmute");
    const volume = byId<HTMLInputElement>("volume");

    play.addEventListener("click", () => this.toggle());
    // A finger's first touch asks for the bar, and is no press of a button that it could not see.
    video.addEventListener("click", (event) => {
      if ((event as PointerEvent).pointerType !== "touch") this.toggle();
    });
    mute.addEventListener("click", () => this.mute(!video.muted));
    unmute.addEventListener("click", () => {
      this.mute(false);
      void playback.play();
    });
    volume.addEventListener("input", () => {
      video.volume = Number(volume.value);
      video.muted = video.volume === 0;
    });
    this.full.addEventListener("click", () => this.fullscreen());
    video.addEventListener("dblclick", () => this.fullscreen());
    byId("live").addEventListener("click", () => playback.goLive());
    pictureInPicture(video);

    const paused = () => {
      this.stage.dataset["paused"] = String(video.paused);
      label(play, video.paused ? "Play" : "Pause", "space");
    };
    const sounded = () => {
      const silent = video.muted || video.volume === 0;
      this.stage.dataset["muted"] = String(silent);
      label(mute, silent ? "Unmute" : "Mute", "m");
      volume.value = String(silent ? 0 : video.volume);
      unmute.hidden = !silent || video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA;
    };
    for (const name of ["play", "pause", "emptied"]) video.addEventListener(name, paused);
    for (const name of ["volumechange", "loadeddata", "emptied"]) video.addEventListener(name, sounded);
    document.addEventListener("fullscreenchange", () =>
      label(this.full, document.fullscreenElement ? "Leave full screen" : "Full screen", "f"),
    );
    paused();
    sounded();
    keepVisibleWhileUsed(this.stage);
  }

  toggle(): void {
    const { video, playback } = this;
    if (!video.paused) return video.pause();
    playback.retryNow();
    this.past.resume();
    void playback.play();
  }

  mute(muted: boolean): void {
    this.video.muted = muted;
    if (!muted && this.video.volume === 0) this.video.volume = 0.5;
  }

  /** By `more`, of 1; from silence upwards turns the sound on. */
  louder(more: number): void {
    const from = this.video.muted ? 0 : this.video.volume;
    this.video.volume = Math.min(1, Math.max(0, Math.round((from + more) * 20) / 20));
    this.video.muted = this.video.volume === 0;
  }

  fullscreen(): void {
    if (document.fullscreenElement) return void document.exitFullscreen();
    // Refused in a frame that may not: then there is nothing to be done about it here.
    if (this.stage.requestFullscreen) return void this.stage.requestFullscreen().catch(() => {});
    (this.video as WebkitVideo).webkitEnterFullscreen?.();
  }
}

function pictureInPicture(video: HTMLVideoElement): void {
  const pip = byId<HTMLButtonElement>("pip");
  pip.hidden = !document.pictureInPictureEnabled;
  pip.addEventListener("click", () => {
    const change = document.pictureInPictureElement
      ? document.exitPictureInPicture()
      : video.requestPictureInPicture();
    // Refused before the first frame is known; nothing to tell the viewer.
    change.catch(() => {});
  });
}

function label(button: HTMLButtonElement, text: string, key: string): void {
  button.title = `${text} (${key})`;
  say(button.querySelector(".sr-only") ?? button, text);
}

/** Shows the bar on any sign of life, hides it after three quiet seconds. */
function keepVisibleWhileUsed(stage: HTMLElement): void {
  let timer: number | undefined;
  const wake = () => {
    stage.dataset["awake"] = "true";
    window.clearTimeout(timer);
    timer = window.setTimeout(() => {
      stage.dataset["awake"] = "false";
    }, 3_000);
  };
  for (const name of ["pointermove", "pointerdown", "focusin", "keydown"]) stage.addEventListener(name, wake);
  wake();
}
