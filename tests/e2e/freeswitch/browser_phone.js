// A phone in a page, of JsSIP: it registers, calls, answers, says one tone and measures what it hears.
// `window.phone` tells how it stands; `call`, `transfer` and `hangUp` are its keys.
({ url, user, password, hz, relay }) => {
  const audio = new AudioContext();
  const voice = audio.createOscillator();
  const mouth = audio.createMediaStreamDestination();
  const ear = audio.createAnalyser();
  ear.fftSize = 8192;
  voice.frequency.value = hz;
  voice.connect(mouth);
  voice.start();

  const hear = (connection) =>
    connection.addEventListener("track", ({ track }) => {
      const stream = new MediaStream([track]);
      // Chromium decodes for Web Audio only what an element plays, too.
      const element = new Audio();
      element.srcObject = stream;
      element.muted = true;
      element.play();
      audio.createMediaStreamSource(stream).connect(ear);
    });
  // Its sockets listen on every address of the machine, and it names those of the way out alone. Here all stay on loopback.
  const onLoopback = (sdp) =>
    sdp
      .replace(/^(a=candidate:\S+ \d udp \d+) [\d.]+ (\d+ typ host)/gm, "$1 127.0.0.1 $2")
      .replace(/^a=candidate:\S+ \d \S+ \d+ (?!127\.0\.0\.1 ).*\r\n/gm, "")
      .replace(/^c=IN IP4 .*$/gm, "c=IN IP4 127.0.0.1");

  const phone = (window.phone = { registered: false, states: [], ended: "", loudest: 0, candidates: [], sessions: [], referred: [] });
  const pcConfig = relay ? { iceServers: [relay], iceTransportPolicy: "relay" } : {};
  const options = { mediaStream: mouth.stream, pcConfig };
  const agent = new JsSIP.UA({
    sockets: [new JsSIP.WebSocketInterface(url)],
    uri: `sip:${user}@127.0.0.1`,
    password,
    register: Boolean(password),
    session_timers: false,
  });
  agent.on("registered", () => (phone.registered = true));
  agent.on("registrationFailed", ({ cause }) => (phone.ended = cause));
  agent.on("newRTCSession", ({ session, originator }) => {
    const told = (state) => session.on(state, () => phone.states.push(state));
    ["progress", "accepted", "confirmed"].forEach(told);
    session.on("ended", ({ cause }) => (phone.ended = cause));
    session.on("failed", ({ cause }) => (phone.ended = cause));
    session.on("sdp", (description) => {
      if (description.originator !== "local") return;
      description.sdp = onLoopback(description.sdp);
      phone.candidates.push(...[...description.sdp.matchAll(/ typ (\w+)/g)].map((match) => match[1]));
    });
    phone.sessions.push(session);
    if (originator === "local") return;
    session.on("peerconnection", ({ peerconnection }) => hear(peerconnection));
    session.answer(options);
  });
  phone.call = (number) => {
    const session = agent.call(`sip:${number}@127.0.0.1`, options);
    hear(session.connection);
  };
  phone.hangUp = () => phone.sessions.at(-1).terminate();
  // Its first call goes to a number, or to the other party of its second call.
  phone.transfer = (number) => {
    const [first, second] = phone.sessions;
    const target = number ? `sip:${number}@127.0.0.1` : second.remote_identity.uri;
    const told = (what) => () => phone.referred.push(what);
    const eventHandlers = { requestSucceeded: told("taken"), accepted: told("done"), failed: told("refused") };
    first.refer(target, { eventHandlers, replaces: number ? undefined : second });
  };
  setInterval(() => {
    const levels = new Float32Array(ear.frequencyBinCount);
    ear.getFloatFrequencyData(levels);
    const peak = levels.reduce((best, level, at) => (level > levels[best] ? at : best), 0);
    phone.loudest = levels[peak] > -60 ? (peak * audio.sampleRate) / ear.fftSize : 0;
  }, 100);
  agent.start();
}
