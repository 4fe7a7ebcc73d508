package braidmq.interop.crossing;

import java.util.concurrent.atomic.AtomicInteger;

/** Names that nothing else has, which both protocols can spell. */
final class Names {
    private static final AtomicInteger SERIAL = new AtomicInteger();
    private static final String RUN = Long.toString(System.currentTimeMillis(), 36);

    private Names() {
    }

    static String unique(String label) {
        return label + "-" + RUN + "-" + SERIAL.incrementAndGet();
    }
}
