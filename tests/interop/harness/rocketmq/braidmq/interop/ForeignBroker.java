package braidmq.interop;

import java.io.IOException;
import java.time.Duration;

/** A broker that someone else started; known by its name server only. */
final class ForeignBroker implements Broker {
    private final String nameServer;
    private final String address;

    ForeignBroker(String nameServer) throws IOException {
        this.nameServer = nameServer;
        try (var probe = new RouteProbe(nameServer)) {
            this.address = probe.brokerAddress();
        }
    }

    @Override
    public String nameServer() {
        return nameServer;
    }

    @Override
    public String address() {
        return address;
    }

    @Override
    public boolean canBeKilled() {
        return false;
    }

    @Override
    public void kill() {
        throw new UnsupportedOperationException("this broker belongs to someone else");
    }

    @Override
    public void restart() {
        throw new UnsupportedOperationException("this broker belongs to someone else");
    }

    @Override
    public Duration positionsDurableAfter() {
        throw new UnsupportedOperationException("nothing is known about this broker");
    }

    @Override
    public void close() {
        // It goes on as it was found.
    }
}
