// WebSocket ends by npm's ws, for tests/peers/test_websocket.py. Both print JSON, one object a line.
//   node ends.js serve PORT NAME     says `NAME PATH` to who comes, then repeats what it hears; plain requests get 200
//   node ends.js ask URL WHAT        WHAT is a function of `questions`
'use strict';
const http = require('http');
const readline = require('readline');
const {WebSocket, WebSocketServer} = require('ws');

const say = told => console.log(JSON.stringify(told));
const deflate = {threshold: 0};  // also the smallest messages

function serve(port, name) {
  const server = http.createServer((request, answer) => answer.writeHead(200, {'Content-Type': 'text/plain'}).end('plain'));
  new WebSocketServer({server, perMessageDeflate: deflate}).on('connection', (ws, request) => {
    say({event: 'open', headers: request.headers});
    ws.on('close', (code, reason) => say({event: 'close', code, reason: reason.toString()}));
    ws.on('pong', data => ws.send(`pong ${data}`));
    ws.on('error', error => say({event: 'error', text: error.message}));
    ws.on('message', (data, binary) => {
      const text = binary ? '' : data.toString();
      if (text === 'close') return ws.close(4321, 'as asked');
      if (text === 'ping') return ws.ping('are you there');
      if (text === 'parts') {
        ws.send('first ', {fin: false});
        ws.ping();  // control frames may come between the parts of a message
        return ws.send('second', {fin: true});
      }
      ws.send(data, {binary});
    });
    ws.send(`${name} ${request.url}`);
  });
  server.listen(port, '127.0.0.1');
}

/// A socket whose messages, the greeting included, are waited for one by one.
class Client {
  constructor(url, options = {}) {
    const ca = process.env.WS_CA && require('fs').readFileSync(process.env.WS_CA);
    const tls = ca ? {ca, lookup: (host, how, back) => how.all ? back(null, [{address: '127.0.0.1', family: 4}]) : back(null, '127.0.0.1', 4)} : {};
    this.ws = new WebSocket(url, {perMessageDeflate: false, ...tls, ...options});
    this.received = [];
    this.waiting = [];
    this.closed = new Promise(end => this.ws.on('close', (code, reason) => end({code, reason: reason.toString()})));
    this.pong = new Promise(end => this.ws.on('pong', data => end(data.toString())));
    this.ws.on('message', (data, binary) => {
      const message = {data, binary};
      if (this.waiting.length) this.waiting.shift()(message);
      else this.received.push(message);
    });
    this.ws.on('error', error => { say({error: error.message}); process.exit(1); });
  }
  next() { return this.received.length ? Promise.resolve(this.received.shift()) : new Promise(end => this.waiting.push(end)); }
  async word() { return (await this.next()).data.toString(); }
}

async function greeted(url, options) {
  const client = new Client(url, options);
  client.greeting = await client.word();
  return client;
}

/// Sends each and waits for its echo; [length, whether it is the same] of each.
async function echoes(client, messages) {
  const out = [];
  for (const message of messages) {
    client.ws.send(message);
    const {data, binary} = await client.next();
    out.push([data.length, binary === Buffer.isBuffer(message) && data.equals(Buffer.from(message))]);
  }
  return out;
}

const questions = {
  async messages(url) {
    const client = await greeted(url);
    const sent = ['hello', Buffer.from([0, 255]), '', '\u00fc'.repeat(1000), Buffer.alloc(3000000, 'x')];
    say({greeting: client.greeting, echoes: await echoes(client, sent)});
    client.ws.close(1000);
  },
  async fragments(url) {
    const client = await greeted(url);
    client.ws.send('a', {fin: false});
    client.ws.send('b', {fin: false});
    client.ws.ping('between');
    client.ws.send('c', {fin: true});
    say({whole: await client.word(), pong: await client.pong});
    client.ws.close(1000);
  },
  async parts(url) {  // only a server of this file knows these words
    const client = await greeted(url);
    client.ws.send('parts');
    const whole = [await client.word(), await client.word()].sort();  // and `pong `
    client.ws.send('ping');
    say({whole, answered: await client.word()});
    client.ws.close(1000);
  },
  async pings(url) {
    const client = await greeted(url);
    client.ws.ping('are you there');
    say({pong: await client.pong});
    client.ws.close(1000);
  },
  async asked_to_close(url) {
    const client = await greeted(url);
    client.ws.send('close');
    say(await client.closed);
  },
  async closes(url) {
    const client = await greeted(url);
    client.ws.close(4000, 'have seen enough');
    say(await client.closed);
  },
  async vanishes(url) {
    const client = await greeted(url);
    client.ws.terminate();
    say(await client.closed);
  },
  async deflate(url) {
    const client = await greeted(url, {perMessageDeflate: deflate});
    const socket = client.ws._socket;
    const before = [socket.bytesWritten, socket.bytesRead];
    const told = await echoes(client, ['x'.repeat(1000000), Buffer.alloc(1000000, 'yz'), 'short', '']);
    say({extensions: client.ws.extensions, echoes: told, sent: socket.bytesWritten - before[0], received: socket.bytesRead - before[1]});
    client.ws.close(1000);
  },
  /// Fifty sockets. Each line on stdin is said by all and must come back to each; at its end they close.
  async stay(url) {
    const clients = await Promise.all(Array.from({length: 50}, (_, i) => greeted(url, {perMessageDeflate: i % 2 ? deflate : false})));
    let closed = 0;
    clients.forEach(client => client.closed.then(() => ++closed));
    say({open: clients.map(client => client.greeting)});
    for await (const line of readline.createInterface({input: process.stdin})) {
      const words = clients.map((client, i) => `${line} ${i}`);
      clients.forEach((client, i) => client.ws.send(words[i]));
      const heard = await Promise.all(clients.map(client => client.word()));
      say({said: line, same: heard.filter((word, i) => word === words[i]).length, closed});
    }
    clients.forEach(client => client.ws.close(1000));
    say({codes: (await Promise.all(clients.map(client => client.closed))).map(end => end.code)});
  },
};

const [what, where, which] = process.argv.slice(2);
if (what === 'serve') serve(+where, which);
else questions[which](where).catch(error => { say({error: String(error)}); process.exit(1); });
