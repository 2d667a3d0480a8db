//! The machine, sentence by sentence, in virtual time: events in, effects out, no I/O.
//!
//! Which test fails when a rule of the system is broken:
//!
//! | rule | test |
//! |---|---|
//! | nothing changed means nothing happens | `quiet::a_thousand_reconnects_and_resent_targets_do_nothing` |
//! | only what changed is touched | `sensors::only_what_changed_is_touched` |
//! | the read model never invents reality | `reports::what_is_reported_is_what_runs`, and the simulation of the whole (`crates/simulation`) |
//! | absent is not empty | `reports::what_did_not_change_is_left_out_and_none_is_said_as_none` |
//! | old never overwrites new | `targets::the_same_version_with_other_content_is_refused`, `reports::every_attempt_has_a_fresh_sequence` |
//! | applied means applied | `targets::held_and_worked_through_are_told_apart`, `sensors::what_failed_is_tried_again_though_the_version_was_seen` |
//! | a tick never cancels work | `targets::a_target_during_a_pass_is_merged_into_one_more_pass` |
//! | one dead instrument delays no other | `sensors::one_dead_instrument_delays_no_other`, `holding::one_dead_instrument_delays_no_other` |
//! | an unset desired value never acts | `holding::without_a_setpoint_nothing_is_read_or_written`, `holding::a_released_point_is_left_alone` |
//! | write only outside the tolerance, done means read back | `holding::a_value_is_written_at_once_verified_and_told` |
//! | a pulse or command is carried out at most once, never late | `commanding::killed_at_every_boundary_nothing_is_written_twice`, `commanding::a_command_that_comes_late_is_never_begun` |
//! | a write budget is durable, a day never begins anew by a restart, a reset acts once | `budgets` |
//! | nothing changed means nothing happens, also where passes wobble | `pace::a_thousand_passes_of_wobbling_length_are_no_news` |
//! | a stop on site wins over the hub, and survives a restart | `on_site::the_hub_lifts_no_stop_on_site`, `on_site::a_stop_goes_on_after_a_restart_with_what_remained` |
//! | intent is recorded before acting | `on_site::a_stop_is_confirmed_when_it_is_on_the_disk`, `on_site::a_start_that_is_not_on_the_disk_starts_nothing` |
//! | the safe value once, then nothing | `leaving::an_output_goes_to_its_safe_value_once_before_the_stop_is_confirmed` |
//! | stopping stops writes, looking never stops | `holding::a_stop_ends_writing_and_not_looking_and_ends_by_itself` |
//! | a stop is confirmed when nothing moves any more; what was overtaken does not count | `overtaken` |

#[path = "../support/mod.rs"]
mod support;

mod budgets;
mod command_world;
mod commanding;
mod ending;
mod holding;
mod hub_away;
mod learning;
mod leaving;
mod on_site;
mod overtaken;
mod pace;
mod quiet;
mod reports;
mod rig;
mod sensors;
mod targets;
mod telling;
