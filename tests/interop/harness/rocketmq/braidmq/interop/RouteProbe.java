package braidmq.interop;

import java.io.IOException;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** Asks a name server which broker it knows, with the client's own administration class. */
final class RouteProbe implements AutoCloseable {
    private final DefaultMQAdminExt admin = new DefaultMQAdminExt();

    RouteProbe(String nameServer) throws IOException {
        admin.setNamesrvAddr(nameServer);
        admin.setInstanceName("probe-" + System.nanoTime());
        try {
            admin.start();
        } catch (Exception e) {
            throw new IOException("cannot ask the name server " + nameServer, e);
        }
    }

    /** host:port of the first broker's master. */
    String brokerAddress() throws IOException {
        try {
            return admin.examineBrokerClusterInfo().getBrokerAddrTable().values().iterator().next().getBrokerAddrs().get(0L);
        } catch (Exception e) {
            throw new IOException("the name server answers no broker", e);
        }
    }

    @Override
    public void close() {
        admin.shutdown();
    }
}
