//! The few calls to libav that `ffmpeg_next` has no safe form of. Nothing else in this crate is unsafe.
#![allow(
    unsafe_code,
    reason = "libav has no safe form of these; each block says why it holds"
)]

use std::{ptr, slice};

use ff::ffi;
use ffmpeg_next as ff;

/// Another handle on the same pixels: its timestamp and kind are its own.
pub(crate) fn share(picture: &ff::frame::Video) -> Result<ff::frame::Video, ff::Error> {
    let mut other = ff::frame::Video::empty();
    // SAFETY: both are live AVFrames, `other` is empty, and libav counts references to the pixels atomically.
    match unsafe { ffi::av_frame_ref(other.as_mut_ptr(), picture.as_ptr()) } {
        0 => Ok(other),
        why => Err(ff::Error::from(why)),
    }
}

/// Closed captions of a picture, as triplets of A/53.
pub(crate) fn captions(picture: &ff::frame::Video) -> Option<Vec<u8>> {
    let captions = picture.side_data(ff::frame::side_data::Type::A53CC)?;
    Some(captions.data().to_vec())
}

/// Makes `captions` those of a picture, whatever it had.
pub(crate) fn caption(picture: &mut ff::frame::Video, captions: &[u8]) -> Result<(), ff::Error> {
    let kind = ff::frame::side_data::Type::A53CC;
    picture.remove_side_data(kind);
    if captions.is_empty() {
        return Ok(());
    }
    let mut block = picture
        .new_side_data(kind, captions.len())
        .ok_or(ff::Error::Other {
            errno: ff::util::error::ENOMEM,
        })?;
    // SAFETY: the block was just made for this many octets, and nobody else has it.
    unsafe {
        let data = (*block.as_mut_ptr()).data;
        ptr::copy_nonoverlapping(captions.as_ptr(), data, captions.len());
    }
    Ok(())
}

/// The first that `read` makes of a picture's user data, each with its identifier first.
pub(crate) fn user_data<T>(
    picture: &ff::frame::Video,
    read: impl Fn(&[u8]) -> Option<T>,
) -> Option<T> {
    // SAFETY: the AVFrame is live for as long as `picture` is borrowed; it owns `nb_side_data` blocks at `side_data`, and each
    // of them `size` octets at `data`.
    let blocks = unsafe {
        let frame = picture.as_ptr();
        let count = usize::try_from((*frame).nb_side_data).unwrap_or(0);
        if (*frame).side_data.is_null() {
            return None;
        }
        slice::from_raw_parts((*frame).side_data, count)
    };
    blocks.iter().find_map(|block| {
        // SAFETY: as above; the block is read while the picture is borrowed.
        let data = unsafe {
            let block = &**block;
            let is_user_data =
                block.type_ == ffi::AVFrameSideDataType::AV_FRAME_DATA_SEI_UNREGISTERED;
            if !is_user_data || block.data.is_null() {
                return None;
            }
            slice::from_raw_parts(block.data, block.size)
        };
        read(data)
    })
}

/// The parameter sets of an opened encoder.
pub(crate) fn extradata(codec: &ff::codec::Context) -> Vec<u8> {
    // SAFETY: an opened AVCodecContext owns `extradata_size` octets at `extradata`, or has none at all.
    unsafe {
        let codec = codec.as_ptr();
        copied((*codec).extradata, (*codec).extradata_size)
    }
}

/// What a container says of a stream's coding, apart from its kind.
pub(crate) fn said(parameters: &ff::codec::Parameters) -> Vec<u8> {
    // SAFETY: live AVCodecParameters own `extradata_size` octets at `extradata`, or have none at all.
    unsafe {
        let parameters = parameters.as_ptr();
        copied((*parameters).extradata, (*parameters).extradata_size)
    }
}

/// A copy of `length` octets at `data`.
///
/// # Safety
///
/// They are there, or `data` is null.
unsafe fn copied(data: *const u8, length: i32) -> Vec<u8> {
    match usize::try_from(length) {
        // SAFETY: the caller's.
        Ok(length) if !data.is_null() => unsafe { slice::from_raw_parts(data, length) }.to_vec(),
        _ => Vec::new(),
    }
}

/// Makes `extradata` the parameter sets of a muxer's stream.
pub(crate) fn set_extradata(
    stream: &mut ff::StreamMut<'_>,
    extradata: &[u8],
) -> Result<(), ff::Error> {
    let padding = ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize;
    // SAFETY: the stream is live and its parameters are its own; the new block comes from libav's allocator, is zeroed
    // and padded as libav asks for, and the old one is freed by the same allocator.
    unsafe {
        let parameters = (*stream.as_mut_ptr()).codecpar;
        let block = ffi::av_mallocz(extradata.len() + padding).cast::<u8>();
        if block.is_null() {
            return Err(ff::Error::Other {
                errno: ff::util::error::ENOMEM,
            });
        }
        ptr::copy_nonoverlapping(extradata.as_ptr(), block, extradata.len());
        ffi::av_freep(ptr::addr_of_mut!((*parameters).extradata).cast());
        (*parameters).extradata = block;
        (*parameters).extradata_size = extradata.len() as i32;
    }
    Ok(())
}

/// The name that another container has for a stream's coding is no name here.
pub(crate) fn forget_tag(stream: &mut ff::StreamMut<'_>) {
    // SAFETY: the stream is live, its parameters are its own, and the field is a plain value.
    unsafe { (*(*stream.as_mut_ptr()).codecpar).codec_tag = 0 }
}

/// Ends the fragment: everything written so far leaves through the muxer's stream.
pub(crate) fn flush(muxer: &mut ff::format::context::Output) -> Result<(), ff::Error> {
    // SAFETY: the context is live and its header written; a null packet is libav's word for "flush".
    unsafe {
        let context = muxer.as_mut_ptr();
        let result = ffi::av_write_frame(context, ptr::null_mut());
        if result < 0 {
            return Err(ff::Error::from(result));
        }
        ffi::avio_flush((*context).pb);
        match (*(*context).pb).error {
            0 => Ok(()),
            why => Err(ff::Error::from(why)),
        }
    }
}

/// Tells an MP4 muxer that the next fragment does not follow the last one, so that it takes its time from its packets.
pub(crate) fn skip(muxer: &mut ff::format::context::Output) -> Result<(), ff::Error> {
    // SAFETY: the context is live; its private data are an object with options, which this sets by name. The strings are
    // static and end with a zero. The muxer looks at the flag with the next packet, and takes it back.
    match unsafe {
        let private = (*muxer.as_mut_ptr()).priv_data;
        ffi::av_opt_set(private, c"movflags".as_ptr(), c"+frag_discont".as_ptr(), 0)
    } {
        0.. => Ok(()),
        why => Err(ff::Error::from(why)),
    }
}

/// How many threads a codec may use; whole pictures never wait for each other.
pub(crate) fn set_threads(codec: &mut ff::codec::Context, count: usize) {
    codec.set_threading(ff::codec::threading::Config {
        kind: ff::codec::threading::Type::Slice,
        count,
        ..Default::default()
    });
}

/// No threads but the caller's for an empty graph's filters.
pub(crate) fn set_alone(graph: &mut ff::filter::Graph) {
    // SAFETY: the graph is live and has no filter yet, so that nobody has read the field, which is a plain value.
    unsafe { (*graph.as_mut_ptr()).nb_threads = 1 }
}

/// The shape of a stream's pixels that the container gives; 0 where it says nothing.
pub(crate) fn shape(stream: &ff::Stream<'_>) -> ff::Rational {
    // SAFETY: the stream is live as long as `stream` borrows its input, and the field is a plain value.
    unsafe { (*stream.as_ptr()).sample_aspect_ratio }.into()
}

/// Makes `shape` that of a picture's pixels.
pub(crate) fn set_shape(picture: &mut ff::frame::Video, shape: ff::Rational) {
    // SAFETY: the AVFrame is live and ours alone, and the field is a plain value.
    unsafe { (*picture.as_mut_ptr()).sample_aspect_ratio = shape.into() }
}

/// Quarter turns to the right after which a stream's pictures are upright, by its display matrix.
pub(crate) fn turns(stream: &ff::Stream<'_>) -> u8 {
    let matrix = stream
        .side_data()
        .find(|data| data.kind() == ff::packet::side_data::Type::DisplayMatrix);
    let Some(matrix) = matrix.filter(|matrix| matrix.data().len() >= 9 * 4) else {
        return 0;
    };
    let mut values = [0_i32; 9];
    for (value, octets) in values.iter_mut().zip(matrix.data().chunks_exact(4)) {
        *value = i32::from_ne_bytes([octets[0], octets[1], octets[2], octets[3]]);
    }
    // SAFETY: libav reads nine values, which `values` has.
    let left = unsafe { ffi::av_display_rotation_get(values.as_ptr()) };
    if left.is_finite() {
        (-left / 90.0).round().rem_euclid(4.0) as u8
    } else {
        0
    }
}
