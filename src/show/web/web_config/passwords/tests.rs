use super::*;

fn users(pairs: &[(&str, &str)]) -> Users {
    let hash = |password: &str| bcrypt::hash(password, 4).unwrap();
    pairs
        .iter()
        .map(|&(user, password)| (user.to_owned(), hash(password)))
        .collect()
}

fn said(user: &str, password: &str) -> Credentials {
    Credentials {
        user: user.to_owned(),
        password: password.into(),
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(future)
}

#[test]
fn the_right_password_of_the_right_user_alone_is_right() {
    let passwords = Passwords::new().unwrap();
    let users = users(&[("ann", "one"), ("bob", "two")]);
    let check = |user, password| block_on(passwords.check(&users, &said(user, password)));
    // Twice each: the second verdict is a remembered one.
    for _ in 0..2 {
        assert_eq!(check("ann", "one"), Verdict::Right);
        assert_eq!(check("bob", "two"), Verdict::Right);
        for (user, password) in [
            ("ann", "two"),
            ("ann", ""),
            ("eve", "one"),
            ("", "one"),
            ("eve", "fakepassword"),
            ("an", "none"),
            ("ann", "one\0"),
        ] {
            assert_eq!(check(user, password), Verdict::Wrong, "{user} {password}");
        }
    }
}

#[test]
fn an_unknown_user_is_wrong_even_if_the_hash_matches() {
    let kept = Arc::new(Mutex::new(Kept::default()));
    let check = |is_known| {
        let (tell, told) = oneshot::channel();
        let check = Check {
            password: b"one".to_vec(),
            hash: users(&[("ann", "one")])["ann"].clone(),
            is_known,
            digest: [u8::from(is_known); 32],
            kept: Arc::clone(&kept),
        };
        let turn = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        check.make(tell, turn);
        block_on(told).unwrap()
    };
    assert_eq!(
        [check(true), check(false)],
        [Verdict::Right, Verdict::Wrong]
    );
}

#[test]
fn a_new_hash_makes_the_old_password_wrong_at_once() {
    let passwords = Passwords::new().unwrap();
    let check = |users: &Users, password| block_on(passwords.check(users, &said("ann", password)));
    let (old, new) = (users(&[("ann", "one")]), users(&[("ann", "two")]));
    assert_eq!(check(&old, "one"), Verdict::Right);
    assert_eq!(check(&new, "one"), Verdict::Wrong);
    assert_eq!(check(&new, "two"), Verdict::Right);
    assert_eq!(check(&users(&[]), "two"), Verdict::Wrong);
}

#[test]
fn an_unknown_user_costs_what_a_known_one_does() {
    let hash = |cost| format!("$2b${cost}$abc");
    let users = Users::from([("a".to_owned(), hash("08")), ("b".to_owned(), hash("12"))]);
    assert!(nobody(&users).starts_with("$2y$12$"));
    let parts: bcrypt::HashParts = nobody(&users).parse().unwrap();
    assert_eq!(parts.get_cost(), 12);
}

#[test]
fn those_who_guess_cannot_push_out_those_who_know() {
    let mut kept = Kept::default();
    kept.keep([1; 32], true);
    for guess in 0..=255 {
        kept.keep([guess; 32], false);
    }
    assert_eq!(kept.verdict(&[1; 32]), Some(Verdict::Right));
    assert_eq!(kept.verdict(&[255; 32]), Some(Verdict::Wrong));
    assert_eq!(kept.verdict(&[2; 32]), None);
    assert_eq!(kept.wrong.len(), MOST_KEPT);
}

#[test]
fn beyond_those_who_wait_nobody_is_checked_and_the_known_get_through() {
    let passwords = Passwords::new().unwrap();
    let users = users(&[("ann", "one")]);
    block_on(async {
        assert_eq!(
            passwords.check(&users, &said("ann", "one")).await,
            Verdict::Right
        );
        let taken = u32::try_from(MOST_WAITING).unwrap();
        let _places = passwords.places.acquire_many(taken).await.unwrap();
        assert_eq!(
            passwords.check(&users, &said("ann", "two")).await,
            Verdict::Busy
        );
        assert_eq!(
            passwords.check(&users, &said("ann", "one")).await,
            Verdict::Right
        );
    });
}

#[test]
fn one_is_checked_at_a_time_and_who_waits_too_long_is_told() {
    let passwords = Passwords::new().unwrap();
    let users = users(&[("ann", "one")]);
    let mut builder = tokio::runtime::Builder::new_current_thread();
    // The clock stands still but for those who wait.
    let runtime = builder.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let _turn = passwords.turn.acquire().await.unwrap();
        assert_eq!(
            passwords.check(&users, &said("ann", "one")).await,
            Verdict::Busy
        );
    });
}
