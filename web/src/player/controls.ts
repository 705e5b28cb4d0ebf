//! The buttons over the picture, and their keys. They act on the <video>; what is live and what
//! a retry does is asked of `playback`.

import { byId, say } from "../shared/dom";
import type { Playback } from "./playback";

type WebkitVideo = HTMLVideoElement & { webkitEnterFullscreen?: () => void };

export function wireControls(video: HTMLVideoElement, playback: Playback): void {
  const stage = byId("stage");
  const play = byId<HTMLButtonElement>("play");
  const mute = byId<HTMLButtonElement>("mute");
  const unmute = byId<HTMLButtonElement>("unmute");
  const volume = byId<HTMLInputElement>("volume");
  const pip = byId<HTMLButtonElement>("pip");
  const full = byId<HTMLButtonElement>("full");
  const live = byId<HTMLButtonElement>("live");

  const toggle = () => {
    if (!video.paused) return video.pause();
    playback.retryNow();
    void playback.play();
  };
  const setMuted = (muted: boolean) => {
    video.muted = muted;
    if (!muted && video.volume === 0) video.volume = 0.5;
  };
  const fullscreen = () => {
    if (document.fullscreenElement) return void document.exitFullscreen();
    if (stage.requestFullscreen) return void stage.requestFullscreen();
    (video as WebkitVideo).webkitEnterFullscreen?.();
  };

  play.addEventListener("click", toggle);
  video.addEventListener("click", toggle);
  mute.addEventListener("click", () => setMuted(!video.muted));
  unmute.addEventListener("click", () => {
    setMuted(false);
    void playback.play();
  });
  volume.addEventListener("input", () => {
    video.volume = Number(volume.value);
    video.muted = video.volume === 0;
  });
  full.addEventListener("click", fullscreen);
  video.addEventListener("dblclick", fullscreen);
  live.addEventListener("click", () => playback.goLive());

  pip.hidden = !document.pictureInPictureEnabled;
  pip.addEventListener("click", () => {
    const change = document.pictureInPictureElement
      ? document.exitPictureInPicture()
      : video.requestPictureInPicture();
    // Refused before the first frame is known; nothing to tell the viewer.
    change.catch(() => {});
  });

  const paused = () => {
    stage.dataset["paused"] = String(video.paused);
    label(play, video.paused ? "Play" : "Pause");
  };
  const sounded = () => {
    const silent = video.muted || video.volume === 0;
    stage.dataset["muted"] = String(silent);
    label(mute, silent ? "Unmute" : "Mute");
    volume.value = String(silent ? 0 : video.volume);
    unmute.hidden = !silent || video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA;
  };
  for (const name of ["play", "pause", "emptied"]) video.addEventListener(name, paused);
  for (const name of ["volumechange", "loadeddata", "emptied"]) video.addEventListener(name, sounded);
  document.addEventListener("fullscreenchange", () =>
    label(full, document.fullscreenElement ? "Leave full screen" : "Full screen"),
  );
  paused();
  sounded();

  keepVisibleWhileUsed(stage);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    // A focused control keeps its own keys: space presses a button, arrows move a slider.
    if ((event.target as Element).closest("button, input, select, a, summary")) return;
    const act = keys[event.key.toLowerCase()];
    if (!act) return;
    event.preventDefault();
    act();
  });
  const keys: Record<string, () => void> = {
    " ": toggle,
    k: toggle,
    m: () => setMuted(!video.muted),
    f: fullscreen,
    l: () => playback.goLive(),
  };
}

function label(button: HTMLButtonElement, text: string): void {
  button.title = text;
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
