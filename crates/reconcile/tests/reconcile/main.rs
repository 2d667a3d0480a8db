//! The reconciler over the store in memory: [`passes`] what one pass does, [`running`] when passes come,
//! [`retention`] how long events are kept, [`notices`] who is told of trouble. What they share is in [`support`].

mod notices;
mod passes;
mod retention;
mod running;
mod support;
