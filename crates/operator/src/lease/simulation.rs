//! Elections among processes with clocks of their own, over a network that delays and loses, with crashes: whatever happens,
//! never two lead, and when it stops happening, one does.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;

use super::elector::{Answer, Elector, Request, Step};
use super::{Record, Settings};

/// Trouble, at a time and for a time, both in milliseconds.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// No request of this process arrives, and no answer comes back.
    Partition { process: usize, at: u64, length: u64 },
    /// It dies and starts again, with the same name.
    Crash { process: usize, at: u64, length: u64 },
    /// It stops to work for a while and goes on as if nothing had happened.
    Freeze { process: usize, at: u64, length: u64 },
    /// It is told to end, hands over, and starts again.
    Shutdown { process: usize, at: u64, length: u64 },
    /// Somebody who has nothing to do with the election writes the Lease.
    Annotation { at: u64 },
}

/// The API server: one object, one version.
#[derive(Debug, Default)]
struct Server {
    lease: Option<Lease>,
    version: u64,
}

impl Server {
    fn carry_out(&mut self, request: &Request) -> Answer {
        let lease = match request {
            Request::Read => {
                return self.lease.clone().map_or(Answer::Missing, |lease| Answer::Lease(lease.into()));
            }
            Request::Hold(lease) | Request::Release(lease) => lease,
        };
        let current = self.lease.as_ref().and_then(|lease| lease.metadata.resource_version.clone());
        if lease.metadata.resource_version != current {
            return Answer::Conflict;
        }
        Answer::Lease(self.store((**lease).clone()).into())
    }

    fn store(&mut self, mut lease: Lease) -> Lease {
        self.version += 1;
        lease.metadata.resource_version = Some(self.version.to_string());
        self.lease = Some(lease.clone());
        lease
    }
}

#[derive(Debug)]
enum Event {
    Wake { process: usize, life: u32 },
    Arrive { process: usize, life: u32, number: u32, request: Request, started: u64 },
    Answer { process: usize, life: u32, number: u32, request: Request, started: u64, answer: Answer },
    TimeOut { process: usize, life: u32, number: u32, request: Request, started: u64 },
    Trouble(Trouble),
    Start { process: usize },
}

#[derive(Debug)]
struct Process {
    /// `None`: it does not run.
    elector: Option<Elector>,
    /// Counts its starts; what belongs to a former life is ignored.
    life: u32,
    /// Counts its requests; an answer that comes after its time limit is ignored.
    number: u32,
    /// Its clock: a beginning, and thousandths of its speed.
    offset: u64,
    rate: u64,
    partitioned_until: u64,
    frozen_until: u64,
}

impl Process {
    fn clock(&self, now: u64) -> Duration {
        Duration::from_micros(self.offset * 1_000 + now * self.rate)
    }

    /// When its clock shows this, rounded up.
    fn real(&self, clock: Duration) -> u64 {
        let micros = u64::try_from(clock.as_micros()).unwrap();
        micros.saturating_sub(self.offset * 1_000).div_ceil(self.rate)
    }

    fn leads(&self, now: u64) -> bool {
        let until = self.elector.as_ref().and_then(Elector::leads_until);
        until.is_some_and(|until| self.clock(now) < until)
    }
}

struct World {
    now: u64,
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    server: Server,
    processes: Vec<Process>,
    random: u64,
    /// From then on the network is quick and loses nothing.
    calm_from: u64,
    /// Who led, in order.
    leaders: Vec<usize>,
}

impl World {
    fn new(rates: &[u64], seed: u64, troubles: &[Trouble], calm_from: u64) -> Self {
        let mut world = Self {
            now: 0,
            events: BTreeMap::new(),
            sequence: 0,
            server: Server::default(),
            processes: Vec::new(),
            random: seed,
            calm_from,
            leaders: Vec::new(),
        };
        for (process, rate) in rates.iter().enumerate() {
            let offset = world.below(1_000_000);
            world.processes.push(Process {
                elector: None,
                life: 0,
                number: 0,
                offset,
                rate: *rate,
                partitioned_until: 0,
                frozen_until: 0,
            });
            let start = world.below(3_000);
            world.at(start, Event::Start { process });
        }
        for trouble in troubles {
            let (Trouble::Partition { at, .. }
            | Trouble::Crash { at, .. }
            | Trouble::Freeze { at, .. }
            | Trouble::Shutdown { at, .. }
            | Trouble::Annotation { at }) = *trouble;
            world.at(at, Event::Trouble(*trouble));
        }
        world
    }

    /// A number below a bound, from the schedule's seed (splitmix64).
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn at(&mut self, time: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((time.max(self.now), self.sequence), event);
    }

    /// How long a message is under way: mostly short, sometimes longer than anybody waits, sometimes for ever.
    fn delay(&mut self, process: usize) -> Option<u64> {
        if self.now < self.processes[process].partitioned_until {
            return None;
        }
        if self.now >= self.calm_from {
            return Some(1 + self.below(20));
        }
        match self.below(20) {
            0 => None,
            1 => Some(self.below(30_000)),
            2 | 3 => Some(self.below(3_000)),
            _ => Some(1 + self.below(100)),
        }
    }

    fn run_until(&mut self, end: u64) {
        while let Some(entry) = self.events.first_entry()
            && entry.key().0 <= end
        {
            let ((time, _), event) = entry.remove_entry();
            self.now = time;
            self.handle(event);
            let leaders: Vec<_> =
                (0..self.processes.len()).filter(|process| self.processes[*process].leads(time)).collect();
            assert!(leaders.len() <= 1, "at {time} ms these lead: {leaders:?}");
            if let Some(leader) = leaders.first()
                && self.leaders.last() != Some(leader)
            {
                self.leaders.push(*leader);
            }
        }
        self.now = end;
    }

    /// Whether an event is for a process that is dead, or must wait because it is frozen.
    fn handle(&mut self, event: Event) {
        let (process, life) = match &event {
            Event::Wake { process, life }
            | Event::Answer { process, life, .. }
            | Event::TimeOut { process, life, .. } => (*process, *life),
            _ => return self.happen(event),
        };
        let Process { life: current, frozen_until, elector, .. } = &self.processes[process];
        if life != *current || elector.is_none() {
            return;
        }
        let frozen_until = *frozen_until;
        if self.now < frozen_until { self.at(frozen_until, event) } else { self.happen(event) }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Start { process } => self.start(process),
            Event::Trouble(trouble) => self.trouble(trouble),
            Event::Wake { process, .. } => self.step(process),
            Event::Arrive { process, life, number, request, started } => {
                let answer = self.server.carry_out(&request);
                if let Some(delay) = self.delay(process) {
                    let answer = Event::Answer { process, life, number, request, started, answer };
                    self.at(self.now + delay, answer);
                }
            }
            Event::Answer { process, number, request, started, answer, .. } => {
                self.answered(process, number, started, &request, answer);
            }
            Event::TimeOut { process, number, request, started, .. } => {
                self.answered(process, number, started, &request, Answer::Failed);
            }
        }
    }

    fn answered(&mut self, index: usize, number: u32, started: u64, request: &Request, answer: Answer) {
        let process = &mut self.processes[index];
        if process.number != number {
            return;
        }
        // Whichever comes second, answer or time limit, is too late.
        process.number += 1;
        let (started, now) = (process.clock(started), process.clock(self.now));
        if let Some(elector) = &mut process.elector {
            elector.answered(started, now, request, answer);
        }
        self.step(index);
    }

    fn start(&mut self, index: usize) {
        let process = &mut self.processes[index];
        process.life += 1;
        process.elector = Some(Elector::new(format!("process-{index}"), Settings::default()));
        self.step(index);
    }

    fn stop(&mut self, index: usize, length: u64) {
        self.processes[index].elector = None;
        self.at(self.now + length, Event::Start { process: index });
    }

    fn step(&mut self, index: usize) {
        let wall = self.wall(index);
        let process = &self.processes[index];
        let Some(elector) = &process.elector else { return };
        let (clock, life) = (process.clock(self.now), process.life);
        match elector.next(clock, wall) {
            Step::Wait(until) => {
                assert!(until > clock, "a wait that is over at once would be a busy loop");
                let at = process.real(until);
                self.at(at, Event::Wake { process: index, life });
            }
            Step::Ask(request) => {
                let limit = process.real(clock + elector.patience(clock)).max(self.now + 1);
                let (started, number) = (self.now, process.number);
                self.at(
                    limit,
                    Event::TimeOut { process: index, life, number, request: request.clone(), started },
                );
                self.send(index, request, started);
            }
            // The process exits, and its container starts again.
            Step::Lost(_) => self.stop(index, 1_000),
        }
    }

    fn send(&mut self, index: usize, request: Request, started: u64) {
        let Process { life, number, .. } = self.processes[index];
        if let Some(delay) = self.delay(index) {
            self.at(self.now + delay, Event::Arrive { process: index, life, number, request, started });
        }
    }

    fn trouble(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Partition { process, length, .. } => {
                self.processes[process].partitioned_until = self.now + length;
            }
            Trouble::Freeze { process, length, .. } => {
                self.processes[process].frozen_until = self.now + length;
            }
            Trouble::Crash { process, length, .. } => self.stop(process, length),
            Trouble::Shutdown { process, length, .. } => {
                let wall = self.wall(process);
                let elector = self.processes[process].elector.as_mut();
                if let Some(request) = elector.and_then(|elector| elector.release(wall)) {
                    self.send(process, request, self.now);
                }
                self.stop(process, length);
            }
            Trouble::Annotation { .. } => {
                if let Some(lease) = self.server.lease.clone() {
                    self.server.store(lease);
                }
            }
        }
    }

    /// Wall clocks are years apart, and go back.
    fn wall(&mut self, index: usize) -> Timestamp {
        let years = i64::try_from(index).unwrap() * 100_000_000;
        let jump = i64::try_from(self.below(1_000_000)).unwrap();
        Timestamp::new(1_000_000_000 + years + jump, 0).unwrap()
    }

    fn holder(&self) -> Option<String> {
        Record::from(self.server.lease.as_ref()?).holder
    }
}

fn trouble(processes: usize) -> impl Strategy<Value = Trouble> {
    (0..5_u8, 0..processes, 0..90_000_u64, 0..40_000_u64).prop_map(|(kind, process, at, length)| match kind {
        0 => Trouble::Partition { process, at, length },
        1 => Trouble::Crash { process, at, length: length / 8 },
        2 => Trouble::Freeze { process, at, length: length / 2 },
        3 => Trouble::Shutdown { process, at, length: length / 8 },
        _ => Trouble::Annotation { at },
    })
}

/// Two or three processes, whose clocks run up to a tenth too fast or too slow.
fn schedules() -> impl Strategy<Value = (Vec<u64>, u64, Vec<Trouble>)> {
    prop::collection::vec(900..=1_100_u64, 2..=3).prop_flat_map(|rates| {
        let troubles = prop::collection::vec(trouble(rates.len()), 0..12);
        (Just(rates), any::<u64>(), troubles)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn never_two_lead_and_in_calm_one_does((rates, seed, troubles) in schedules()) {
        // The longest trouble ends by 130 s; a message may be 30 s late.
        let calm = 130_000;
        let mut world = World::new(&rates, seed, &troubles, calm);
        world.run_until(calm + 60_000);
        let changes = world.leaders.len();
        for second in 60..120 {
            world.run_until(calm + second * 1_000);
            let leading = (0..rates.len()).filter(|process| world.processes[*process].leads(world.now)).count();
            prop_assert_eq!(leading, 1, "{} s into the calm", second);
        }
        prop_assert_eq!(world.leaders.len(), changes, "leadership changed in the calm");
    }
}

#[test]
fn hand_over_takes_no_longer_than_a_look() {
    let shutdown = Trouble::Shutdown { process: 0, at: 30_000, length: 60_000 };
    let mut world = World::new(&[1_000], 7, &[shutdown], 0);
    world.run_until(20_000);
    assert!(world.processes[0].leads(world.now));
    let second = Process {
        elector: None,
        life: 0,
        number: 0,
        offset: 5,
        rate: 1_000,
        partitioned_until: 0,
        frozen_until: 0,
    };
    world.processes.push(second);
    world.at(20_000, Event::Start { process: 1 });
    world.run_until(29_999);
    assert!(world.processes[0].leads(world.now) && !world.processes[1].leads(world.now));
    world.run_until(32_200);
    assert!(world.processes[1].leads(world.now), "{:?}", world.holder());
}

#[test]
fn crash_of_the_leader_costs_the_duration_of_the_lease() {
    let crash = Trouble::Crash { process: 0, at: 30_000, length: 600_000 };
    let mut world = World::new(&[1_000], 7, &[crash], 0);
    world.run_until(20_000);
    let second = Process {
        elector: None,
        life: 0,
        number: 0,
        offset: 5,
        rate: 1_000,
        partitioned_until: 0,
        frozen_until: 0,
    };
    world.processes.push(second);
    world.at(20_000, Event::Start { process: 1 });
    world.run_until(39_000);
    assert!(!world.processes[1].leads(world.now));
    world.run_until(48_000);
    assert!(world.processes[1].leads(world.now));
}

#[test]
fn container_that_starts_again_goes_on_at_once() {
    let crash = Trouble::Crash { process: 0, at: 30_000, length: 1_000 };
    let mut world = World::new(&[1_000], 7, &[crash], 0);
    world.run_until(30_900);
    assert!(!world.processes[0].leads(world.now));
    world.run_until(31_200);
    assert!(world.processes[0].leads(world.now));
}

#[test]
fn slow_calls_and_annotations_do_not_cost_the_lease() {
    let troubles: Vec<_> = (0..100).map(|index| Trouble::Annotation { at: 5_000 + index * 700 }).collect();
    let mut world = World::new(&[1_000, 1_000], 3, &troubles, 0);
    world.run_until(10_000);
    // Nothing arrives for 4 s: less than the deadline leaves.
    let leader = world.leaders[0];
    world.processes[leader].partitioned_until = 14_000;
    world.run_until(120_000);
    assert_eq!(world.leaders, [leader]);
}
