// node: net for the echo; readline for ack, its lines of a turn written in one piece; for ack-usual
// each by itself.
'use strict';

const net = require('node:net');
const readline = require('node:readline');

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

net.createServer({ noDelay: true }, (socket) => {
	socket.on('error', () => socket.destroy());
	handler(socket);
}).listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 });
