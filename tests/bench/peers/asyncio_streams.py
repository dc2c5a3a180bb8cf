"""asyncio with streams, as its manual shows it: echo, or (ack) one reply to each line."""

import asyncio
import sys

READ_BYTES = 64 * 1024


async def echo(reader, writer):
    try:
        while data := await reader.read(READ_BYTES):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def ack(reader, writer):
    try:
        while line := await reader.readline():
            writer.write(b"Got " + line)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def main(port, handler):
    server = await asyncio.start_server(handler, "127.0.0.1", port, backlog=4096)
    async with server:
        await server.serve_forever()


asyncio.run(main(int(sys.argv[1]), ack if sys.argv[2:] == ["ack"] else echo))
