//! The reconciler over the store in memory: [`passes`] what one pass does, [`running`] when passes come,
//! [`retention`] how long events are kept. What they share is in [`support`].

mod passes;
mod retention;
mod running;
mod support;
