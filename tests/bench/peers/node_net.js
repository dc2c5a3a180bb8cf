// node: net for the echo; readline for ack, its lines of a turn written in one piece; for ack-usual
// each by itself.
'use strict';

const fs = require('node:fs');
const net = require('node:net');
const readline = require('node:readline');
const tls = require('node:tls');

function echo(socket) {
	socket.on('data', (data) => {
		if (!socket.write(data)) {
			socket.pause();
			socket.once('drain', () => socket.resume());
		}
	});
}

function ack(socket) {
	const lines = readline.createInterface({ input: socket, crlfDelay: Infinity });
	let corked = false;

	lines.on('line', (line) => {
		if (!corked) {
			corked = true;
			socket.cork();
			process.nextTick(() => {
				corked = false;
				socket.uncork();
			});
		}
		socket.write(`Got ${line}\n`);
	});
}

function ackUsual(socket) {
	const lines = readline.createInterface({ input: socket, crlfDelay: Infinity });

	lines.on('line', (line) => socket.write(`Got ${line}\n`));
}

const handler = { ack, 'ack-usual': ackUsual }[process.argv[3]] ?? echo;

const directory = process.argv[4]; // after "tls"

function serve(socket) {
	socket.on('error', () => socket.destroy());
	handler(socket);
}

const server = directory
	? tls.createServer({
		cert: fs.readFileSync(`${directory}/tls.crt`),
		key: fs.readFileSync(`${directory}/tls.key`),
		noDelay: true,
	}, serve)
	: net.createServer({ noDelay: true }, serve);

server.listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 });
