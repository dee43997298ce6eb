//! The stream to the client, once its first event exists.
//!
//! From here on nothing is retried: a failure ends the stream with `event: error`, and a client that goes
//! away drops this state, which closes the upstream connection and settles the attempt as cancelled.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt as _, unfold};

use super::attempt::{SIGNATURE_WAIT, tokens};
use super::error::DispatchError;
use super::reading::{Progress, Reading};
use super::signatures::Memory;
use super::tally::Streaming;
use crate::account::settlement::{Attempt, Outcome, outcome_of};
use crate::anthropic::event::{error_frame, ping_frame};
use crate::clock::{Alarm, Clock};
use crate::cloudcode::Failure;
use crate::format::stream::SseSink;
use crate::telemetry::Observation;
use crate::telemetry::traces::Phase;

/// Bytes of frames that are joined at the most.
const JOINED: usize = 16 * 1024;

/// Everything a stream in flight owns.
pub(super) struct Live {
    pub(super) reading: Box<Reading>,
    pub(super) attempt: Attempt,
    pub(super) memory: Memory,
    pub(super) sink: SseSink,
    pub(super) keepalive: Duration,
    pub(super) alarm: Alarm,
    pub(super) model: Arc<str>,
    pub(super) clock: Clock,
    pub(super) streaming: Streaming,
    pub(super) observation: Observation,
    /// The try at the upstream that the stream comes from.
    pub(super) call: Phase,
    /// The stream to the client.
    pub(super) phase: Phase,
}

enum State {
    /// Events wait in the sink; the answer may or may not be complete.
    Begun(Box<Live>, Progress),
    Open(Box<Live>),
    Done,
}

impl Live {
    /// The frames from the first event on. `progress` tells whether the upstream has finished already.
    pub(super) fn into_frames(self, progress: Progress) -> BoxStream<'static, Bytes> {
        unfold(State::Begun(Box::new(self), progress), |state| async move {
            match state {
                State::Begun(mut live, Progress::Complete) => {
                    live.note();
                    Some(live.complete().await)
                }
                State::Begun(mut live, Progress::Open) => {
                    let joined = live.join().await;
                    Some(live.settle(joined).await)
                }
                State::Open(live) => Some(live.next().await),
                State::Done => None,
            }
        })
        .boxed()
    }

    /// Frames for the next bytes of the upstream, or a ping after a silence.
    async fn next(mut self: Box<Self>) -> (Bytes, State) {
        // What counts is the client's silence: bytes that yield no event do not end it.
        let silence = self.clock.instant() + self.keepalive;
        loop {
            let Self { alarm, reading, sink, .. } = &mut *self;
            let progress = match alarm.within(silence, reading.advance(sink)).await {
                None => {
                    self.note();
                    return (ping_frame(), State::Open(self));
                }
                Some(Ok(Progress::Open)) => self.join().await,
                Some(ended) => ended,
            };
            if !matches!(progress, Ok(Progress::Open)) || !self.sink.is_empty() {
                return self.settle(progress).await;
            }
        }
    }

    /// What the upstream has ready goes along, so that pieces which came together leave together.
    async fn join(&mut self) -> Result<Progress, Failure> {
        while self.sink.len() < JOINED {
            match self.reading.advance_ready(&mut self.sink).await {
                Some(Ok(Progress::Open)) => {}
                Some(ended) => return ended,
                None => break,
            }
        }
        Ok(Progress::Open)
    }

    /// The frames that wait, and how it goes on.
    async fn settle(mut self: Box<Self>, progress: Result<Progress, Failure>) -> (Bytes, State) {
        self.note();
        match progress {
            Ok(Progress::Open) => {
                let frames = self.sink.take();
                (frames, State::Open(self))
            }
            Ok(Progress::Complete) => self.complete().await,
            Err(failure) => {
                let mut frames = self.sink.take().to_vec();
                let outcome = outcome_of(&failure);
                let error = DispatchError::Upstream { model: self.model.to_string(), failure };
                frames.extend_from_slice(&error_frame(error.answer().kind, &error.to_string()));
                self.call.broke(error.reason());
                self.phase.fail(error.reason());
                let settling = self.observation.phase("settle");
                self.attempt.break_off(outcome);
                settling.end();
                self.streaming.tally().broken(error.reason());
                (frames.into(), State::Done)
            }
        }
    }

    /// Takes down what the answer has consumed and taught so far.
    fn note(&mut self) {
        self.attempt.consumed(tokens(self.reading.converter().usage()));
        self.memory.learn(self.reading.converter());
    }

    /// The last frames, sent only after the signatures can be found by every replica.
    async fn complete(mut self: Box<Self>) -> (Bytes, State) {
        self.call.succeeded();
        self.observation.stopped(self.reading.converter().stop_reason().as_str());
        let settling = self.observation.phase("settle");
        self.memory.settled_within(SIGNATURE_WAIT).await;
        self.attempt.finish(Outcome::Success);
        settling.end();
        // With its last frames the stream is over.
        self.phase.end();
        self.streaming.tally().served();
        (self.sink.take(), State::Done)
    }
}
