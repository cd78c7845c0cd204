"""A proxy that delays all data in both directions; runs in a Python container.

Usage: python delay.py HOST PORT SECONDS
"""

import asyncio
import sys


async def forward(reader, writer, seconds):
    """Forward the data received, each piece ``seconds`` later."""
    while data := await reader.read(65536):
        await asyncio.sleep(seconds)
        writer.write(data)
        await writer.drain()
    writer.close()


async def serve(host, port, seconds):
    """Run the proxy until it is stopped."""

    async def accept(reader, writer):
        there, here = await asyncio.open_connection(host, port)
        await asyncio.gather(
            forward(reader, here, seconds), forward(there, writer, seconds), return_exceptions=True
        )

    server = await asyncio.start_server(accept, "0.0.0.0", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
