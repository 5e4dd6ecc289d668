// Package auth turns a token into a session: who a client is, until when, and what it may do (PROTOCOL §7). Edges ask it at
// each connection, and publishers once more before they act, so that an edge which was taken over cannot act on its own.
//
// # The way of a token
//
// Verify (verifier.go) bounds it, and has golang-jwt take it apart. What it says of itself is looked at (claims.go: screen) only to
// choose among the keys that are configured: by iss, kid and alg. The parser checks the signature with those, then exp, nbf, iat and aud.
// Then the claims are made a Session (claims.go, session.go): the patterns of the grants claim and, where the configuration maps
// them, those of its roles (grants.go, act.go). Whatever is wrong becomes one of a closed list of reasons (refusal.go), each with a
// counter (metrics.go); its text is for the operator.
//
// # Keys
//
// A key (key.go) is pinned to the algorithms that it is good for by what it is (algorithm.go), less those that the operator does not
// allow, and to its one alg where an issuer's JWK has one. It comes from
//
//   - a file with a secret, or with public keys and certificates in PEM (file.go). Files are looked at each second, and their content
//     compared: that finds every way to change a file, where events of the file system miss some. New content is taken when two looks
//     agree, because a secret that is half written is a secret too. What cannot be used changes nothing. To end a key, change its file:
//     a file that is gone may be one that is being replaced.
//   - an issuer's JWKS (remote.go), fetched from a URL of the configuration each ten minutes, and when a token has a kid that is not
//     known, but then at most each ten seconds. While the issuer is away the last good keys go on; a token of another key is then
//     ErrUnavailable, and not at fault. An issuer that is named with its JWKS is vouched for by that one alone, and
//     its keys by it. Keys without a kid are found with the next fetch; where PEM files and a JWKS are mixed, name its issuer.
//
// # What jwkset does, and why keyfunc does not do the rest
//
// jwkset reads single keys (NewJWKFromMarshal). Its companion keyfunc fetches sets. remote.go was written on it once, for
// trying out, with one Keyfunc for each issuer (keyfunc v3.9.1, jwkset v0.11.4). An http.Client of ours keeps redirects, time
// and the size of an answer in bounds there too, and a limiter for each issuer the rate. What is left is this:
//
//   - Whoever brings a kid that is not known has httpClient.KeyRead fetch for him alone, beside the goroutine that refreshes, and
//     any number may wait in rate.Limiter.Wait: of 50 at once each fetched, where here 8 wait for one fetch and the others are told
//     to come back (TestJWKS_ThoseWhoWaitShareOneFetch).
//   - The refresh in NewStorageFromHTTP refuses a whole set for one key that cannot be read, unless that is an ErrUnsupportedKey, and
//     only a RoundTripper that takes the answer apart first could change that (TestJWKS_ABrokenKeyIsLeftOut).
//   - After a failure the goroutine of NewStorageFromHTTP waits for its next RefreshInterval, the first time as well
//     (TestJWKS_AnIssuerThatComesLateIsAskedAgain). Nobody can wait for that goroutine's end, and the first fetch is made by the caller.
//   - That refresh stores a set without keys, and reads no further than the first JSON value: the last good keys go on only with a
//     Storage and a RoundTripper of ours (TestJWKS_TheLastGoodKeysGoOn).
//   - KeyfuncCtx knows one key of each kid, the first, so that Storage().KeyReadAll would be all that is used of it
//     (TestJWKS_AKeyIsForItsAlgorithmAndUse).
//
// With code of ours around keyfunc for each of these, nothing remains of it but a ticker and a slice of keys, and no less to read.
//
// # Goroutines
//
// New starts none. Run has one for the files and one for each JWKS, which alone fetches from it, and waits for all. Verify runs on its
// caller's, and may wait there for a fetch, JWKSTimeout at most. Keys of files are replaced as a whole by an atomic pointer;
// remote.mu guards what one issuer published. The two locks are never nested.
//
// # What it costs
//
// One core of a two-core machine, in µs a token (BenchmarkVerify): HS256 11, RS256 47, PS256 76, EdDSA 110, ES256 150, ES384 1,300,
// ES512 3,900, and 4 to 6 KB of garbage. A forged token costs as much. Who lets strangers connect leaves the last two to others.
//
// # Promises
//
//   - Each algorithm is verified, and none that was not allowed: TestVerify_TakesEachAlgorithm,
//     TestVerify_TakesTheAllowedAlgorithmsAlone, TestConfusion_NoneIsNoAlgorithm.
//   - A key is for its own algorithms: TestConfusion_APublicKeyIsNoSecret, TestConfusion_ACurveHasItsOwnAlgorithm,
//     TestJWKS_AKeyIsForItsAlgorithmAndUse; and large enough: TestNew_RefusesKeysThatAreTooSmall.
//   - A token brings no key and names no place to fetch one from: TestConfusion_AHeaderBringsNoKey, TestJWKS_RedirectsLeadNowhereElse,
//     TestJWKS_ComeByHTTPSOrFromThisMachine.
//   - Claims are held to: TestVerify_RefusesByClaims, TestJWKS_IssuersVouchForThemselvesAlone.
//   - Files may change in any way, and a broken one changes nothing: TestFiles_AreReloadedHoweverTheyChange,
//     TestFiles_FollowLinksThatMove, TestFiles_KeepTheLastGoodKeys, TestFile_WaitsUntilItIsWritten.
//   - Rotation and revocation are followed, an outage is not felt: TestJWKS_RotationIsFollowed,
//     TestJWKS_RevocationIsNoticedWithoutBeingAsked, TestJWKS_TheLastGoodKeysGoOn, TestJWKS_WithoutKeysNothingIsKnown,
//     TestJWKS_AnUnknownKeyOfAnIssuerThatIsDownMayComeBack, TestJWKS_AnIssuerThatComesLateIsAskedAgain, TestJWKS_ABrokenKeyIsLeftOut.
//   - Nobody can have us besiege an issuer, nor wait for one in crowds: TestJWKS_InventedKeysBesiegeNobody, TestJWKS_ThoseWhoWaitShareOneFetch.
//   - Cover is right for every topic: TestMaySubscribe_IsRightForEveryTopic; and for actions: TestMayAct_ByHostNameAndAction.
//   - Roles grant what the configuration says, and a subject stays one word: TestRoles_GrantWhatTheConfigurationSays,
//     TestRoles_ASubjectIsNoPattern.
//   - Errors and logs hold nothing of a token but alg, kid and iss: TestErrorsAndLogs_HoldNothingOfAToken, FuzzVerify.
//   - Foreign bytes break nothing: FuzzVerify, FuzzVerify_Signed, FuzzParseJWKS, FuzzPEM.
//
// # What it refuses to do
//
// It makes no tokens (package mint does, for trying out), asks no issuer about a single token, keeps no list of revoked ones (short
// exp and a changed key are the ways), and looks at no chain of certificates.
package auth
