//! Spillway's own programme: slow colours, a clock, a hand that sweeps once a second and a beep when it starts.
//!
//! For demonstrations and for measuring delay by eye, so it must be cheap to make and to encode.

use std::time::{SystemTime, UNIX_EPOCH};

pub(super) const FPS: u32 = 30;

/// The graph's text, for libav's parser. `clock`: with text, for which a font is needed.
pub(super) fn graph(fps: u32, clock: bool) -> String {
    let (width, height) = (WIDTH, HEIGHT);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let text = if clock {
        text(now.as_secs(), now.subsec_millis())
    } else {
        String::new()
    };
    // Drawn small and enlarged: smooth by nature, and forty times cheaper.
    format!(
        "gradients=size=160x90:rate={fps}:speed=0.006:nb_colors=4:c0=0x0b1f3a:c1=0x14532d:c2=0x3b1d60:c3=0x7c2d12:x0=0:y0=0:x1=159:y1=89,\
         scale={width}:{height}:flags=bilinear:out_color_matrix=bt709:out_range=tv,format=yuv420p[ground];\
         color=c=0xf5f5f4:size={HAND}x{HAND_HEIGHT}:rate={fps},format=yuv420p[hand];\
         [ground]drawbox=x=0:y={rail}:w={width}:h=2:color=0xf5f5f4@0.35:t=fill[railed];\
         [railed][hand]overlay=x='mod(t\\,1)*{travel}':y={hand_top}:eval=frame:format=yuv420{text}[out0];\
         sine=frequency=196:beep_factor=5:sample_rate=48000,volume=0.5[beep];\
         sine=frequency=246.94:sample_rate=48000,volume=0.25[third];\
         sine=frequency=293.66:sample_rate=48000,volume=0.25[fifth];\
         [beep][third][fifth]amix=inputs=3:normalize=0,aformat=sample_fmts=fltp:channel_layouts=stereo[out1]",
        rail = HAND_TOP + HAND_HEIGHT / 2,
        travel = width - HAND,
        hand_top = HAND_TOP,
    )
}

/// The clock runs on the pictures' own time, `seconds` and `millis` after 1970 at the first one.
fn text(seconds: u64, millis: u32) -> String {
    let colon = r"\\\:";
    let clock = format!(
        r"%{{pts\:gmtime\:{seconds}\:%H{colon}%M{colon}%S}}.%{{eif\:mod(floor((t+0.0005)*1000)\,1000)\:d\:3}}"
    );
    let style = "fontcolor=0xf5f5f4:shadowcolor=black@0.5:shadowx=2:shadowy=2";
    // Time is moved ahead to the wall clock's fraction of a second for the clock alone.
    format!(
        ",drawtext=font=Sans:text=SPILLWAY:fontsize=54:x=(w-text_w)/2:y=h*0.20:{style},\
         settb=1/90000,setpts=PTS+{millis}/1000/TB,\
         drawtext=font=Sans:expansion=normal:text='{clock}':fontsize=96:x=(w-text_w)/2:y=h*0.36:{style},\
         setpts=PTS-{millis}/1000/TB,\
         drawtext=font=Sans:text='UTC     picture %{{n}}':fontsize=30:x=(w-text_w)/2:y=h*0.53:{style}"
    )
}

const WIDTH: u32 = 1280;
const HEIGHT: u32 = 720;
const HAND: u32 = 12;
const HAND_HEIGHT: u32 = 72;
const HAND_TOP: u32 = 540;
