// Subscriptions to an edge that outlive its connections, as the Tidings protocol says: positions are resumed, what was
// heard before is dropped, and a draining edge is left only when the next one has taken over.

// The types of which only the newest message matters: a snapshot brings all that counts.
export const latest = new Set(["host", "metrics", "containers", "container-stats"]);

const backoff = { base: 500, cap: 30_000, steady: 10_000 }; // ms

const denied = ["unauthorized", "forbidden"]; // codes of what will be refused again

const staysAway = (code) => [1000, 1001, 1002, 1003, 1007, 1009].includes(code) || (code >= 4500 && code <= 4599);

/**
 * follow subscribes to topics at url and tells, until the edge says to stay away.
 * @param {string} url of the socket
 * @param {{topic: string, last?: number}[]} topics
 * @param {{message: Function, gap: Function, state: Function, why: Function}} told message(m, missed), gap(m), state(name, text);
 *   why() tells, later, what is wrong with a socket that never opened, for which browsers give no reason: a text to stay away
 *   for, or nothing to try again
 * @param {string} [token] that the edge asks for
 * @returns {Function} connects again after the state "away"
 */
export function follow(url, topics, told, token) {
  const heard = new Map(); // topic → {seq, timestamp}: of its last message, and the latest of all, for NATS' clock may have been set back
  const positions = new Map(); // pattern of `every` topics → {epoch, seq} from which to resume
  let current = null; // the line that serves us
  let next = null; // one that is to take over
  let timer = 0; // for the next dial
  let failures = 0;

  function dial() {
    timer = 0;
    const line = { socket: new WebSocket(url, token ? ["tidings.v1", `bearer.${token}`] : "tidings.v1"), heartbeat: 25_000, silence: 0, opened: 0, over: false };
    next = line;
    line.socket.onmessage = (event) => {
      listen(line);
      take(line, JSON.parse(event.data));
    };
    line.socket.onclose = (event) => ended(line, event.code, event.reason);
    listen(line);
  }

  function listen(line) {
    clearTimeout(line.silence);
    line.silence = setTimeout(() => ended(line, 1006, "silence"), 2 * line.heartbeat);
  }

  function retire(line) {
    line.over = true;
    clearTimeout(line.silence);
    line.socket.close(1000);
  }

  function ended(line, code, reason) {
    if (line.over) return;
    retire(line);
    if (line.opened && Date.now() - line.opened > backoff.steady) failures = 0;
    if (line === next) next = null;
    else current = null;
    if (current ? timer : next) return current || told.state("wait", "connecting"); // the other one is here, or on its way
    if (!current && staysAway(code)) return told.state("away", `closed by the edge: ${reason || code}`);
    const wait = Math.random() * Math.min(backoff.base * 2 ** failures++, backoff.cap);
    if (current || line.opened) return schedule(wait);
    timer = -1; // nobody else dials meanwhile
    told.why().then((text) => (text ? away(text) : schedule(wait)));
  }

  function away(text) {
    timer = 0;
    told.state("away", text);
  }

  function schedule(ms) {
    clearTimeout(timer);
    timer = setTimeout(dial, ms);
    if (!current) told.state("wait", ms < 1000 ? "connecting" : `connecting in ${Math.round(ms / 1000)} s`);
  }

  function take(line, m) {
    if (line.over) return;
    switch (m.type) {
      case "connected":
        line.heartbeat = m.payload.heartbeat_ms;
        line.node = m.payload.node;
        line.opened = Date.now();
        line.socket.send(JSON.stringify({ type: "subscribe", id: 1, topics: topics.map(want) }));
        return;
      case "ack":
        for (const t of m.payload.topics) acked(t);
        if (current && current !== line) retire(current);
        current = line;
        next = null;
        return told.state("live", `live from ${line.node}`);
      case "error":
        if (denied.includes(m.payload.code)) {
          retire(line);
          if (line === next) next = null;
          else current = null;
          return current || away(m.payload.message);
        }
        told.state("wait", m.payload.message);
        return ended(line, 1006, m.payload.message);
      case "status":
        if (m.payload.upstream === "ok") return told.state("live", `live from ${line.node}`);
        return told.state("wait", `${line.node} has lost NATS: values are getting old`);
      case "going_away": {
        const [least, most] = m.payload.reconnect_ms;
        if (!next && !timer) schedule(least + Math.random() * (most - least));
        return;
      }
      case "gap": {
        const { before, reason } = m.payload; // so much is told: the next message misses nothing more
        if (reason === "epoch") heard.delete(m.topic);
        else heard.set(m.topic, { timestamp: 0, ...heard.get(m.topic), seq: before - 1 });
        return told.gap(m);
      }
      case "heartbeat":
        return;
      default:
        data(line, m);
    }
  }

  function want({ topic, last }) {
    if (positions.has(topic)) return { topic, since: positions.get(topic) };
    return last && heard.size === 0 ? { topic, last } : topic;
  }

  function acked({ topic, epoch, seq, recovered }) {
    // A recovered one goes on from where it was: what it missed is still to come.
    if (epoch && !recovered && !latest.has(topic.split(".")[0])) positions.set(topic, { epoch, seq });
  }

  function data(line, m) {
    const before = heard.get(m.topic);
    if (m.seq) {
      if (before && m.seq <= before.seq && m.timestamp <= before.timestamp) return; // heard over another line
      heard.set(m.topic, { seq: m.seq, timestamp: Math.max(m.timestamp, before?.timestamp ?? 0) });
      for (const [pattern, p] of positions) if (pattern.split(".")[0] === m.type) p.seq = Math.max(p.seq, m.seq);
    } else if (line !== current) return;
    told.message(m, Boolean(before && m.prev > before.seq));
  }

  dial();
  return dial;
}
