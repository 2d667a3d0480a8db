//! The client of a line, over a pipe and in virtual time: to the millisecond when what is sent, and what is taken for an
//! answer.

use std::time::Duration;

use tokio::time::Instant;

use super::bench::{Bench, SECOND, bench, bench_at, ms, read, word, write};

use super::*;
use crate::data::Write;

#[tokio::test(start_paused = true)]
async fn the_line_is_silent_before_each_request() {
    let mut bench = bench();
    let (answer, (_, request)) = bench
        .ask(&read(1, 0x6B, 1), async |far| {
            let request = far.request(8).await;
            far.takes(ms(20)).await;
            far.answer(1, &[3, 2, 2, 43]).await;
            request
        })
        .await;
    assert_eq!((answer, request), (word(555), vec![1, 3, 0, 0x6B, 0, 1]));
    let answered = bench.far.start.elapsed();
    let (_, (at, _)) = bench
        .ask(&read(1, 0, 1), async |far| {
            let request = far.request(8).await;
            far.answer(1, &[3, 2, 0, 7]).await;
            request
        })
        .await;
    let silence = (at - answered).as_micros();
    assert!((4_010..6_000).contains(&silence), "{silence} µs");
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_not_taken_for_the_next() {
    let mut bench = bench();
    let (answer, ()) = bench
        .ask(&read(1, 100, 1), async |far| {
            far.request(8).await;
        })
        .await;
    assert_eq!(answer, Err(Failure::TimedOut));
    let late_at = bench.far.start.elapsed() + ms(700);
    let (answer, at) = bench
        .ask(&read(1, 101, 1), async |far| {
            far.takes(ms(700)).await;
            far.answer(1, &[3, 2, 0, 100]).await;
            let (at, request) = far.request(8).await;
            assert_eq!(request, [1, 3, 0, 101, 0, 1]);
            far.answer(1, &[3, 2, 0, 101]).await;
            at
        })
        .await;
    assert_eq!(answer, word(101));
    // As soon as it had come and the line was silent again.
    let waited = at - late_at;
    assert!(waited >= AFTER_FAILURE && waited < ms(35), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_owes_an_answer_is_not_asked_before_hope_is_past_and_others_are() {
    let mut bench = bench();
    let (answer, ()) = bench
        .ask(&read(1, 0, 1), async |far| {
            far.request(8).await;
        })
        .await;
    assert_eq!(answer, Err(Failure::TimedOut));
    let failed_at = bench.far.start.elapsed();
    // The one of unit 1 comes while unit 2 is asked: unit 1 owes nothing any more.
    let paid = bench.debts.clone();
    let (answer, at) = bench
        .ask(&read(2, 0, 1), async |far| {
            let (at, _) = far.request(8).await;
            assert!(paid.until(1).is_some());
            far.answer(1, &[3, 2, 0, 1]).await;
            far.answer(2, &[3, 2, 0, 2]).await;
            at
        })
        .await;
    assert_eq!(answer, word(2));
    assert!(at - failed_at < ms(35), "{:?}", at - failed_at);
    assert_eq!(bench.debts.until(1), None);
    // Again, and it never comes.
    let (_, ()) = bench
        .ask(&read(1, 0, 1), async |far| {
            far.request(8).await;
        })
        .await;
    let failed_at = bench.far.start.elapsed();
    let (answer, at) = bench
        .ask(&read(1, 0, 1), async |far| {
            let (at, _) = far.request(8).await;
            far.answer(1, &[3, 2, 0, 3]).await;
            at
        })
        .await;
    assert_eq!(answer, word(3));
    let waited = at - failed_at;
    assert!(waited >= SECOND * LATE && waited < ms(2_050), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_answer_to_this_is_passed_over() {
    let mut bench = bench();
    let (answer, ()) = bench
        .ask(&read(1, 0, 1), async |far| {
            far.request(8).await;
            far.send(&[0xFF, 0x00, 0x01, 0x03, 0x02]).await;
            far.answer(2, &[3, 2, 9, 9]).await;
            far.answer(1, &[4, 2, 9, 9]).await;
            far.answer(1, &[3, 4, 9, 9, 9, 9]).await;
            far.answer(1, &[0x84, 2]).await;
            // In pieces, and with pauses that no line has.
            for piece in frame::encode(1, &[3, 2, 0, 5]).chunks(2) {
                far.takes(ms(50)).await;
                far.send(piece).await;
            }
        })
        .await;
    assert_eq!(answer, word(5));
    let (answer, ()) = bench
        .ask(&read(1, 0, 1), async |far| {
            far.request(8).await;
            far.answer(1, &[0x83, 2]).await;
        })
        .await;
    assert_eq!(answer, Ok(Answer::Exception(2)));
    // If nothing else comes, it says what came.
    let (answer, ()) = bench
        .ask(&read(1, 0, 1), async |far| {
            far.request(8).await;
            far.answer(2, &[3, 2, 9, 9]).await;
        })
        .await;
    assert_eq!(
        answer,
        Err(Failure::NoAnswer("an answer of unit 2".to_owned()))
    );
}

#[tokio::test(start_paused = true)]
async fn a_damaged_answer_is_known_at_once_and_half_of_one_when_the_time_is_past() {
    let mut bench = bench();
    let mut damaged = frame::encode(1, &[3, 4, 0, 5, 0, 6]);
    damaged[5] ^= 0x10;
    let (answer, ()) = bench
        .ask(&read(1, 0, 2), async |far| {
            far.request(8).await;
            far.send(&damaged).await;
        })
        .await;
    assert_eq!(answer, Err(Failure::Damaged));
    assert!(bench.far.start.elapsed() < ms(100), "no need to wait");
    // It has answered, so it is asked again without waiting.
    let (answer, ()) = bench
        .ask(&read(1, 0, 2), async |far| {
            far.request(8).await;
            far.send(&damaged[..5]).await;
        })
        .await;
    assert_eq!(answer, Err(Failure::Cut(5)));
    let at = bench.far.start.elapsed();
    assert!(at >= SECOND && at < ms(1_150), "{at:?}");
    // The rest of it is in nobody's way.
    let (answer, ()) = bench
        .ask(&read(1, 0, 1), async |far| {
            far.send(&damaged[5..]).await;
            far.request(8).await;
            far.answer(1, &[3, 2, 0, 5]).await;
        })
        .await;
    assert_eq!(answer, word(5));
}

#[tokio::test(start_paused = true)]
async fn a_write_is_taken_as_made_only_if_the_answer_says_just_that() {
    let register = Write::Register {
        address: 7,
        word: 0x1234,
    };
    let registers = Write::Registers {
        first: 7,
        words: [1, 2].into(),
    };
    let coil = Write::Coil {
        address: 7,
        on: true,
    };
    let bits = Write::Bits {
        address: 7,
        mask: 4,
        bits: 4,
    };
    let cases: [(Write, &[u8], &[u8]); 4] = [
        (register, &[6, 0, 7, 0x12, 0x34], &[6, 0, 7, 0x12, 0x34]),
        (
            registers,
            &[16, 0, 7, 0, 2, 4, 0, 1, 0, 2],
            &[16, 0, 7, 0, 2],
        ),
        (coil, &[5, 0, 7, 0xFF, 0], &[5, 0, 7, 0xFF, 0]),
        (
            bits,
            &[22, 0, 7, 0xFF, 0xFB, 0, 4],
            &[22, 0, 7, 0xFF, 0xFB, 0, 4],
        ),
    ];
    for (what, request, echo) in cases {
        let ask = write(what);
        let mut bench = bench();
        let (answer, sent) = bench
            .ask(&ask, async |far| {
                let (_, sent) = far.request(request.len() + 3).await;
                far.answer(1, echo).await;
                sent
            })
            .await;
        assert_eq!((answer, &sent[1..]), (Ok(Answer::Written), request));
        // One bit of the echo is other: the address, the value, the count, the mask.
        for at in 1..echo.len() {
            let mut bench = self::bench();
            let mut other = echo.to_vec();
            other[at] ^= 1;
            let (answer, ()) = bench
                .ask(&ask, async |far| {
                    far.request(request.len() + 3).await;
                    far.answer(1, &other).await;
                })
                .await;
            let reason = "the answer to another write".to_owned();
            assert_eq!(answer, Err(Failure::NoAnswer(reason)), "byte {at}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_that_bytes_take_on_the_line_is_not_the_units() {
    let mut bench = bench_at(300);
    let mut ask = read(1, 0, 125);
    ask.deadline = ms(100);
    let pdu = [vec![3, 250], vec![0; 250]].concat();
    // 8 bytes and 255 at 27.3 characters a second, and the unit's 90 ms.
    let on_the_line = ms(36_667) / 1_000;
    let (answer, ()) = bench
        .ask(&ask, async |far| {
            far.request(8).await;
            far.takes(on_the_line * 263 + ms(90)).await;
            far.answer(1, &pdu).await;
        })
        .await;
    assert!(answer.is_ok(), "{answer:?}");
    let mut bench = bench_at(300);
    let (answer, ()) = bench
        .ask(&ask, async |far| {
            far.request(8).await;
            far.takes(on_the_line * 263 + ms(110)).await;
        })
        .await;
    assert_eq!(answer, Err(Failure::TimedOut));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_on_a_line_that_is_gone_or_never_silent() {
    let Bench {
        mut line,
        far,
        debts,
    } = bench();
    drop(far);
    assert_eq!(line.ask(&read(1, 0, 1), &debts).await, Err(Failure::Stale));
    let mut bench = bench();
    let (answer, ()) = bench
        .ask(&read(1, 0, 1), async |far| {
            for _ in 0..110 {
                far.send(&[0x55; 7]).await;
                far.takes(ms(20)).await;
            }
        })
        .await;
    assert!(
        matches!(&answer, Err(Failure::NoAnswer(text)) if text.contains("without end")),
        "{answer:?}"
    );
    // It is over now, and the request goes out; then the line goes.
    let Bench {
        mut line,
        mut far,
        debts,
    } = bench;
    let ask = read(1, 0, 1);
    let (answer, ()) = tokio::join!(line.ask(&ask, &debts), async {
        far.request(8).await;
        drop(far);
    });
    assert!(matches!(answer, Err(Failure::Lost(_))), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn a_line_that_echoes_is_learned_from_a_read_and_no_echo_is_an_answer() {
    let mut bench = bench();
    // The echo has the head of the answer that is awaited (2 bytes of values), and comes in two pieces.
    for _ in 0..2 {
        let (answer, ()) = bench
            .ask(&read(1, 0x0200, 1), async |far| {
                let (_, body) = far.request(8).await;
                let echo = frame::encode(body[0], &body[1..]);
                far.send(&echo[..7]).await;
                far.takes(ms(5)).await;
                far.send(&echo[7..]).await;
                far.takes(ms(20)).await;
                far.answer(1, &[3, 2, 0, 5]).await;
            })
            .await;
        assert_eq!(answer, word(5));
    }
    let ask = write(Write::Register {
        address: 7,
        word: 9,
    });
    for answers in [true, false] {
        let (answer, ()) = bench
            .ask(&ask, async |far| {
                let (_, body) = far.request(8).await;
                far.answer(body[0], &body[1..]).await;
                if answers {
                    far.takes(ms(20)).await;
                    far.answer(1, &[6, 0, 7, 0, 9]).await;
                }
            })
            .await;
        let expected = if answers {
            Ok(Answer::Written)
        } else {
            Err(Failure::TimedOut)
        };
        assert_eq!(answer, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_is_not_held_back_for_long() {
    let mut bench = bench();
    let mut slow = read(1, 0, 1);
    slow.deadline = SECOND * 4;
    let (answer, ()) = bench
        .ask(&slow, async |far| {
            far.request(8).await;
        })
        .await;
    assert_eq!(answer, Err(Failure::TimedOut));
    let at = Instant::now();
    let late = write(Write::Register {
        address: 7,
        word: 9,
    });
    let (answer, ()) = bench.ask(&late, async |_| {}).await;
    assert_eq!(
        (answer, at.elapsed()),
        (Err(Failure::Owing), Duration::ZERO)
    );
    // Past most of what is hoped for, it waits for the rest.
    bench.far.takes(SECOND * 4).await;
    let (answer, ()) = bench
        .ask(&late, async |far| {
            far.request(8).await;
            far.answer(1, &[6, 0, 7, 0, 9]).await;
        })
        .await;
    assert_eq!(answer, Ok(Answer::Written));
    assert!(at.elapsed() >= SECOND * 8, "{:?}", at.elapsed());
}
