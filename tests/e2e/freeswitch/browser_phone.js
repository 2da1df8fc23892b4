// A phone in a page: SIP over a WebSocket (RFC 7118), audio by WebRTC. It calls, says 1000 Hz, and measures what it hears.
// `window.phone` tells what became of the call.
async ({ url, number }) => {
  const context = new AudioContext();
  const voice = context.createOscillator();
  const mouth = context.createMediaStreamDestination();
  const ear = context.createAnalyser();
  ear.fftSize = 8192;
  voice.frequency.value = 1000;
  voice.connect(mouth);
  voice.start();

  const connection = new RTCPeerConnection();
  connection.addTrack(mouth.stream.getAudioTracks()[0], mouth.stream);
  connection.ontrack = ({ streams: [stream] }) => {
    // Chromium decodes for Web Audio only what an element plays, too.
    const element = new Audio();
    element.srcObject = stream;
    element.muted = true;
    element.play();
    context.createMediaStreamSource(stream).connect(ear);
  };
  await connection.setLocalDescription(await connection.createOffer());
  while (connection.iceGatheringState !== "complete") {
    await new Promise((next) => connection.addEventListener("icegatheringstatechange", next, { once: true }));
  }

  const socket = new WebSocket(url, "sip");
  const id = crypto.getRandomValues(new Uint32Array(4)).join("");
  const from = `<sip:web@page.invalid>;tag=${id}w`;
  const to = `<sip:${number}@page.invalid>`;
  const phone = (window.phone = { statuses: [], ended: false, loudest: 0 });
  const send = (first, headers, body = "") => {
    const lines = [first, ...headers, `Content-Length: ${new TextEncoder().encode(body).length}`];
    socket.send(`${lines.join("\r\n")}\r\n\r\n${body}`);
  };
  const request = (method, target, peer, body) =>
    send(
      `${method} ${target} SIP/2.0`,
      [
        `Via: SIP/2.0/WSS page.invalid;branch=z9hG4bK${id}${method}`,
        `From: ${from}`,
        `To: ${peer}`,
        `Call-ID: ${id}`,
        `CSeq: 1 ${method}`,
        "Contact: <sip:web@page.invalid;transport=ws>",
        "Max-Forwards: 70",
        ...(body ? ["Content-Type: application/sdp"] : []),
      ],
      body,
    );
  socket.onmessage = async ({ data }) => {
    const [head, body] = data.split("\r\n\r\n");
    const header = (name) => head.match(new RegExp(`^${name}:\\s*(.*)$`, "im"))?.[1].trim();
    if (head.startsWith("BYE")) {
      const vias = head.split("\r\n").filter((line) => /^via:/i.test(line));
      const echoed = ["From", "To", "Call-ID", "CSeq"].map((name) => `${name}: ${header(name)}`);
      send("SIP/2.0 200 OK", [...vias, ...echoed]);
      phone.ended = true;
      return;
    }
    const status = Number(head.split(" ")[1]);
    phone.statuses.push(status);
    if (status === 200) {
      await connection.setRemoteDescription({ type: "answer", sdp: body });
      request("ACK", header("Contact").match(/<(.*?)>/)[1], header("To"));
    }
  };
  setInterval(() => {
    const levels = new Float32Array(ear.frequencyBinCount);
    ear.getFloatFrequencyData(levels);
    const peak = levels.reduce((best, level, at) => (level > levels[best] ? at : best), 0);
    phone.loudest = levels[peak] > -60 ? (peak * context.sampleRate) / ear.fftSize : 0;
  }, 100);
  await new Promise((open, fail) => {
    socket.onopen = open;
    socket.onerror = () => fail(new Error(`no WebSocket at ${url}`));
  });
  // Its sockets listen on every address of the machine, and it names those of the way out alone. Here all stay on loopback.
  const offer = connection.localDescription.sdp
    .replace(/^(a=candidate:\S+ \d udp \d+) [\d.]+ /gm, "$1 127.0.0.1 ")
    .replace(/^a=candidate:\S+ \d \S+ \d+ (?!127\.0\.0\.1 ).*\r\n/gm, "")
    .replace(/^c=IN IP4 .*$/gm, "c=IN IP4 127.0.0.1");
  request("INVITE", `sip:${number}@page.invalid`, to, offer);
}
